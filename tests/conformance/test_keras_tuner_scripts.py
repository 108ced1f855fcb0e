"""Scripts in the style of KerasTuner's guides: they run with nothing but the import and the class name changed."""

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from small_data import CLASSES, FEATURES, table

from tuning import BayesianOptimization, GridSearch, NothingToRecommend
from tuning.record.tracker import NullTracker

pytestmark = pytest.mark.usefixtures("no_advice")
QUIET = {"seeds": 2, "in_process": True, "tracker": NullTracker(), "quiet": True}
DATA = table()
X, Y, VALIDATION = DATA.x_train, DATA.y_train, (DATA.x_val, DATA.y_val)


def network(units=8, activation="relu", rate=1e-2, run_eagerly=True):
    """A few updates of it take less time eagerly than to be traced."""
    model = keras.Sequential(
        [keras.Input((FEATURES,)), keras.layers.Dense(units, activation), keras.layers.Dense(CLASSES, "softmax")]
    )
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=run_eagerly
    )
    return model


def test_getting_started(tmp_path):
    def build_model(hp):
        return network(
            hp.Int("units", min_value=4, max_value=8, step=4),
            hp.Choice("activation", ["relu", "tanh"]),
            hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log"),
            run_eagerly=False,
        )

    build_model(keras_tuner.HyperParameters())
    tuner = BayesianOptimization(
        hypermodel=build_model,
        objective="val_accuracy",
        max_trials=3,
        executions_per_trial=2,
        overwrite=True,
        directory=tmp_path,
        project_name="helloworld",
        in_process=True,
        tracker=NullTracker(),
        quiet=True,
    )
    tuner.search_space_summary()
    tuner.search(X, Y, epochs=2, validation_data=VALIDATION)
    best = tuner.get_best_models(num_models=2)[0]
    assert best.evaluate(*VALIDATION, verbose=0, return_dict=True)["accuracy"] > 0
    tuner.results_summary()
    best_hps = tuner.get_best_hyperparameters(5)
    assert best_hps[0].get("units") in (4, 8)


class BatchSizeInFit(keras_tuner.HyperModel):
    """The documented way to tune a batch size."""

    def build(self, hp):
        return network(hp.Choice("units", [8]))

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch_size", [8, 16]), **kwargs)


def test_tuning_the_batch_size_in_fit(tmp_path, capsys):
    tuner = GridSearch(BatchSizeInFit(), objective="val_accuracy", directory=tmp_path, **QUIET)
    tuner.search(X, Y, epochs=2, validation_data=VALIDATION)
    tried = {trial.hyperparameters.values["batch_size"] for trial in tuner.oracle.trials.values()}
    assert tried == {8, 16}
    assert tuner.recommend().batch_size in tried
    score, trial = max((trial.score, trial.trial_id) for trial in tuner.oracle.trials.values())
    best = tuner.get_best_models()[0]
    assert best.evaluate(*VALIDATION, verbose=0, return_dict=True)["accuracy"] == pytest.approx(score), trial
    tuner.results_summary()
    assert "Score" in capsys.readouterr().out


class Shuffling(keras_tuner.HyperModel):
    """The guide's example of tuning how a model is trained."""

    def build(self, hp):
        return network(hp.Int("units", 4, 8, step=4))

    def fit(self, hp, model, x, y, validation_data=None, **kwargs):
        if hp.Boolean("normalize"):
            x = keras.layers.Normalization(mean=0.0, variance=2.0)(x)
        return model.fit(x, y, validation_data=validation_data, shuffle=hp.Boolean("shuffle"), **kwargs)


def test_tuning_how_a_model_is_trained(tmp_path):
    tuner = BayesianOptimization(
        Shuffling(), objective="val_accuracy", max_trials=3, directory=tmp_path, sampler="random", **QUIET
    )
    tuner.search(X, Y, epochs=2, validation_data=VALIDATION)
    assert all(dict(trial.hyperparameters).keys() >= {"normalize", "shuffle"} for trial in tuner.oracle.records)


class OwnLoop(keras_tuner.HyperModel):
    """The guide's custom training loop, with its own metric told to the callbacks."""

    def build(self, hp):
        inputs = keras.Input((FEATURES,))
        hidden = keras.layers.Dense(hp.Int("units", 4, 8, step=4), activation="relu")(inputs)
        return keras.Model(inputs, keras.layers.Dense(CLASSES)(hidden))

    def fit(self, hp, model, x, y, validation_data, epochs=2, callbacks=None, **kwargs):
        batch_size = hp.Int("batch_size", 8, 16, step=8, default=16)
        train_ds = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)
        validation_ds = tf.data.Dataset.from_tensor_slices(validation_data).batch(batch_size)
        optimizer = keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-2, sampling="log", default=1e-3))
        loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        epoch_loss_metric = keras.metrics.Mean()
        for callback in callbacks:
            callback.set_model(model)
        best = float("inf")
        for epoch in range(epochs):
            for inputs, labels in train_ds:
                with tf.GradientTape() as tape:
                    loss = loss_fn(labels, model(inputs, training=True))
                gradients = tape.gradient(loss, model.trainable_variables)
                optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            for inputs, labels in validation_ds:
                epoch_loss_metric.update_state(loss_fn(labels, model(inputs)))
            epoch_loss = float(epoch_loss_metric.result().numpy())
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs={"my_metric": epoch_loss})
            epoch_loss_metric.reset_state()
            best = min(best, epoch_loss)
        return best


def test_a_custom_training_loop(tmp_path):
    tuner = GridSearch(
        OwnLoop(), objective=keras_tuner.Objective("my_metric", "min"), directory=tmp_path, max_trials=4, **QUIET
    )
    tuner.search(X, Y, validation_data=VALIDATION, epochs=2)
    assert tuner.recommend().objective == "my_metric"
    assert {record.outcome.loop for record in tuner.oracle.records} == {"own"}
    assert any("by a loop of its own" in caveat for caveat in tuner.answer.recommendation.caveats)


class Returning(keras_tuner.HyperModel):
    """A fit that evaluates by itself and returns a dict of metrics."""

    def build(self, hp):
        return network()

    def fit(self, hp, model, x, y, validation_data, epochs, **kwargs):
        for _ in range(epochs):
            for begin in range(0, len(x), hp["batch_size"]):
                model.train_on_batch(x[begin : begin + hp["batch_size"]], y[begin : begin + hp["batch_size"]])
        loss, accuracy = model.evaluate(*validation_data, verbose=0)
        return {"my_loss": loss, "my_accuracy": accuracy}


def test_a_fit_that_returns_its_metrics(tmp_path):
    from search_spaces import BatchSize

    tuner = GridSearch(
        Returning(),
        objective=keras_tuner.Objective("my_accuracy", "max"),
        batch_size=BatchSize.of(8, 16),
        directory=tmp_path,
        **QUIET,
    )
    tuner.search(X, Y, validation_data=VALIDATION, epochs=2)
    assert 0 < tuner.recommend().table[0].objective_mean <= 1


def test_callbacks(tmp_path):
    tuner = GridSearch(lambda hp: network(), objective="val_loss", directory=tmp_path, **QUIET)
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=1)
    tuner.search(X, Y, epochs=3, validation_split=0.2, callbacks=[stopping])
    assert tuner.recommend().batch_size >= 1


def test_several_objectives(tmp_path):
    objectives = [keras_tuner.Objective("val_accuracy", "max"), "examples_per_second"]
    tuner = GridSearch(lambda hp: network(), objective=objectives, directory=tmp_path, **QUIET)
    tuner.search(X, Y, epochs=2, validation_data=VALIDATION)
    assert tuner.answer.trade_offs is not None


def test_a_conditional_space(tmp_path):
    def build_model(hp):
        kind = hp.Choice("model_type", ["shallow", "deep"])
        if kind == "shallow":
            with hp.conditional_scope("model_type", ["shallow"]):
                return network(hp.Int("units_shallow", 4, 8, step=4))
        with hp.conditional_scope("model_type", ["deep"]):
            return network(hp.Int("units_deep", 8, 16, step=8))

    tuner = GridSearch(build_model, objective="val_accuracy", directory=tmp_path, max_trials=4, **QUIET)
    tuner.search(X, Y, epochs=1, validation_data=VALIDATION)
    assert tuner.oracle.get_space().get("model_type") in ("shallow", "deep")


def test_a_restart(tmp_path):
    def search():
        tuner = GridSearch(
            lambda hp: network(), objective="val_accuracy", directory=tmp_path, project_name="again", **QUIET
        )
        tuner.search(X, Y, epochs=1, validation_data=VALIDATION)
        return tuner

    first = search()
    named = {"directory": tmp_path, "project_name": "again"}
    again = GridSearch(lambda hp: network(), objective="val_accuracy", **named, **QUIET)
    again.reload()
    assert len(again.oracle.trials) == len(first.oracle.trials)
    assert again.recommend().batch_size == first.recommend().batch_size
    assert len(search().oracle.trials) == len(first.oracle.trials)


def test_overriding_hyperparameters_and_what_may_go_wrong(tmp_path):
    def build_model(hp):
        if hp.Choice("units", [4, 8]) == 8:
            raise ValueError("this one never works")
        return network(4)

    hp = keras_tuner.HyperParameters()
    hp.Fixed("units", value=4)
    tuner = GridSearch(
        build_model,
        objective="val_accuracy",
        hyperparameters=hp,
        tune_new_entries=False,
        allow_new_entries=True,
        max_retries_per_trial=1,
        max_consecutive_failed_trials=3,
        seed=3,
        directory=tmp_path,
        **QUIET,
    )
    tuner.search(X, Y, epochs=1, validation_data=VALIDATION)
    assert {dict(record.hyperparameters).get("units", 4) for record in tuner.oracle.records} == {4}


def test_an_unusable_batch_size_is_told_with_the_change_that_helps(tmp_path):
    class Fixed(BatchSizeInFit):
        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, batch_size=64, **kwargs)

    tuner = GridSearch(Fixed(), objective="val_accuracy", directory=tmp_path, **QUIET)
    with pytest.raises(NothingToRecommend, match=r"Take it from hp\.Choice"):
        tuner.search(X, Y, epochs=1, validation_data=VALIDATION)


def test_a_search_that_calls_fit_gets_the_same_numbers_as_one_that_leaves_it_alone(tmp_path):
    class Plain(keras_tuner.HyperModel):
        def build(self, hp):
            return network(run_eagerly=False)

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, **kwargs)

    scores = []
    for number, hypermodel in enumerate((Plain(), lambda hp: network(run_eagerly=False))):
        tuner = GridSearch(hypermodel, objective="val_loss", directory=tmp_path, project_name=str(number), **QUIET)
        tuner.search(X, Y, epochs=2, validation_data=VALIDATION)
        scores.append([record.score for record in tuner.oracle.records])
    assert np.allclose(*scores, rtol=1e-5)
