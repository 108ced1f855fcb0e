"""A training session: trials as data, whatever happens in them."""

import json
from dataclasses import replace

import keras
import keras_tuner
import numpy as np
import pytest
from training_helpers import (
    FEATURES,
    Recorder,
    assert_same_history,
    dense_model,
    make_data,
    make_trial,
    plain_fit_history,
)

from search_spaces.data import Data
from tuning.instructions import Goal
from tuning.loops.planner import Planner
from tuning.loops.session import TrainingSession
from tuning.objective import Objective
from tuning.trial import Status


def asked_for(**changes):
    return make_trial(**{"loop": "keras", **changes})


def train(build, asked, *, data=None, stop_after=None, **options):
    recorder = Recorder(stop_after)
    outcome = TrainingSession(build, data or make_data(), **options).train(asked, recorder)
    return outcome, recorder


@pytest.mark.parametrize("batch_size", [1, 7, 25, 50])
def test_keras_loop_logs_what_plain_fit_logs_on_the_same_order(batch_size):
    asked = asked_for(batch_size=batch_size, evaluation_batch_size=5)
    outcome, recorder = train(dense_model, asked)
    keras.utils.set_random_seed(asked.seed)
    assert outcome.status is Status.COMPLETED
    assert_same_history(recorder.history, plain_fit_history(dense_model(), make_data(), asked))


def test_several_steps_per_execution_train_the_same_updates():
    asked = asked_for(batch_size=7, epochs=4)
    _, single = train(dense_model, asked)
    outcome, several = train(lambda: dense_model(steps_per_execution=3), asked)
    assert outcome.settings["steps_per_execution"] == 3
    assert_same_history(several.history, single.history)


def test_reports_count_epochs_updates_and_examples():
    outcome, recorder = train(dense_model, asked_for(batch_size=8))
    assert [epoch.epoch for epoch in recorder.epochs] == [1, 2, 3]
    assert [epoch.updates for epoch in recorder.epochs] == [6, 12, 18]
    assert [epoch.examples_seen for epoch in recorder.epochs] == [48, 96, 144]
    seconds = [epoch.seconds for epoch in recorder.epochs]
    assert seconds == sorted(seconds)
    assert recorder.epochs[0].metrics.keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert outcome.seconds == pytest.approx(seconds[-1])
    assert outcome.examples_per_second > 0
    assert outcome.peak_memory_bytes > 2**20
    assert outcome.compile_seconds > 0


def test_the_seed_fixes_the_trial():
    histories = [train(dense_model, asked_for(seed=seed))[1].history for seed in (1, 1, 2)]
    assert histories[0] == histories[1]
    assert histories[0] != histories[2]


def test_sample_weights_and_class_weights_train_alike():
    data = make_data()
    weights = np.where(data.y_train == 0, 3.0, 1.0)
    _, by_class = train(dense_model, asked_for(), fit_options={"class_weight": {0: 3.0}, "verbose": 1})
    _, by_sample = train(dense_model, asked_for(), data=make_data(sample_weight_train=weights))
    _, plain = train(dense_model, asked_for())
    assert_same_history(by_class.history, by_sample.history)
    assert by_class.history != plain.history


def test_hyperparameters_batch_size_and_learning_rate_reach_the_build_function():
    seen = {}

    def build(hp):
        seen["units"] = hp.Choice("units", [4, 16])
        seen["batch_size"] = hp.Int("batch_size", 1, 64)
        seen["learning_rate"] = hp.Float("lr", 1e-4, 1.0, default=1e-3)
        return dense_model(keras.optimizers.SGD(seen["learning_rate"]))

    outcome, _ = train(build, asked_for(epochs=1, learning_rate=0.25, hyperparameters={"units": 16}))
    assert outcome.status is Status.COMPLETED
    assert seen == {"units": 16, "batch_size": 8, "learning_rate": 0.25}


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_a_learning_rate_that_the_build_ignores_is_assigned_to_the_optimizer(policy):
    learning_rates = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            learning_rates.append((self.model.dtype_policy.name, float(self.model.optimizer.learning_rate)))

        def __deepcopy__(self, memo):
            return self

    def build():
        keras.config.set_dtype_policy(policy)
        return dense_model()

    outcome, _ = train(build, asked_for(epochs=1, learning_rate=0.125), callbacks=[Watch()])
    assert outcome.status is Status.COMPLETED, outcome.reason
    assert learning_rates == [(policy, 0.125)]


def test_a_policy_set_in_one_build_does_not_reach_the_next():
    policies = []

    def build(hp):
        policies.append(keras.config.dtype_policy().name)
        if hp.Boolean("mixed"):
            keras.config.set_dtype_policy("mixed_float16")
        return dense_model()

    session = TrainingSession(build, make_data())
    for mixed in (True, False):
        session.train(asked_for(epochs=1, hyperparameters={"mixed": mixed}), Recorder())
    assert policies == ["float32", "float32"]


def scheduled_model():
    return dense_model(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)))


def test_a_schedule_is_respected_and_takes_a_learning_rate_as_its_highest():
    plain, own = train(scheduled_model, asked_for())
    assert plain.status is Status.COMPLETED
    assert train(scheduled_model, asked_for(learning_rate=0.1))[1].history == own.history
    assert train(scheduled_model, asked_for(learning_rate=0.2))[1].history != own.history


def linear_model():
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_a_loss_that_is_not_finite_ends_the_trial_as_diverged():
    outcome, recorder = train(linear_model, asked_for(epochs=60, learning_rate=0.5))
    assert outcome.status is Status.DIVERGED
    assert "loss became" in outcome.reason
    assert 0 < len(recorder.epochs) < 59
    assert all(np.isfinite(epoch.metrics["loss"]) for epoch in recorder.epochs)


def test_a_report_that_returns_false_prunes_the_trial():
    outcome, recorder = train(dense_model, asked_for(epochs=9), stop_after=2)
    assert outcome.status is Status.PRUNED
    assert len(recorder.epochs) == 2
    assert outcome.reason == "Stopped by the search after epoch 2 of 9."


def test_a_goal_that_is_reached_ends_the_trial_as_completed():
    goal = Goal(Objective("loss", "min"), 1e9)
    outcome, recorder = train(dense_model, asked_for(epochs=5, goal=goal))
    assert (outcome.status, len(recorder.epochs)) == (Status.COMPLETED, 1)
    outcome, recorder = train(dense_model, asked_for(epochs=5, goal=replace(goal, least_epochs=3)), stop_after=3)
    assert (outcome.status, len(recorder.epochs)) == (Status.COMPLETED, 3)
    outcome, recorder = train(dense_model, asked_for(epochs=5, goal=Goal(Objective("val_accuracy", "max"), 1.1)))
    assert (outcome.status, len(recorder.epochs)) == (Status.COMPLETED, 5)


def test_a_callback_may_stop_the_trial_early():
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=1)
    outcome, recorder = train(dense_model, asked_for(epochs=9), callbacks=[stop])
    assert outcome.status is Status.COMPLETED
    assert outcome.settings["epochs_trained"] == len(recorder.epochs) == 2


def test_callbacks_are_copied_for_each_trial_and_see_correct_epochs_and_logs(tmp_path):
    class Log(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append((epoch, sorted(logs)))
            (tmp_path / "seen.json").write_text(json.dumps(self.seen))

    session = TrainingSession(dense_model, make_data(), callbacks=[Log()])
    for _ in range(2):
        session.train(asked_for(epochs=2), Recorder())
    names = ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert json.loads((tmp_path / "seen.json").read_text()) == [[0, names], [1, names]]


def test_final_weights_are_saved(tmp_path):
    outcome, recorder = train(dense_model, asked_for(trial_id="t7", keep_weights=True), weights_directory=tmp_path)
    assert outcome.status is Status.COMPLETED, outcome.reason
    model = dense_model()
    model.optimizer.build(model.trainable_variables)  # the file holds its state too
    model.load_weights(tmp_path / "t7.weights.h5")
    data = make_data()
    loss, accuracy = model.evaluate(data.x_val, data.y_val, verbose=0)
    assert loss == pytest.approx(recorder.history[-1]["val_loss"], rel=1e-5)
    assert accuracy == pytest.approx(recorder.history[-1]["val_accuracy"])


@pytest.mark.parametrize("keep_weights", [False, True])
def test_weights_are_saved_only_where_both_are_told(tmp_path, monkeypatch, keep_weights):
    monkeypatch.chdir(tmp_path)
    options = {} if keep_weights else {"weights_directory": tmp_path}
    outcome, _ = train(dense_model, asked_for(epochs=1, keep_weights=keep_weights), **options)
    assert outcome.status is Status.COMPLETED, outcome.reason
    assert list(tmp_path.iterdir()) == []


def raises():
    raise TypeError("no such layer")


class TrainsItself(keras_tuner.HyperModel):
    def build(self, hp):
        return dense_model()

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **kwargs)


UNUSABLE = {
    "raises": (raises, "The build function must build a model; it raised TypeError: no such layer"),
    "no model": (lambda: 3, "The build function must return a keras.Model; got 3"),
    "not compiled": (lambda: keras.Sequential([keras.layers.Dense(1)]), "must return a compiled model"),
    "not callable": ("model", "The model must come from a HyperModel or build_model"),
}


@pytest.mark.parametrize(("build", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_build_function_is_a_failed_trial_with_one_line(build, reason):
    outcome, _ = train(build, asked_for())
    assert outcome.status is Status.FAILED
    assert reason in outcome.reason
    assert "\n" not in outcome.reason
    assert "Error" in outcome.log_tail


def test_options_that_cannot_be_are_a_failed_trial():
    outcome, _ = train(dense_model, asked_for(), fit_options={"epochs": 3})
    assert outcome.status is Status.FAILED
    assert "give it to the search itself" in outcome.reason


def test_a_batch_size_above_the_data_is_a_failed_trial():
    outcome, _ = train(dense_model, asked_for(batch_size=51))
    assert outcome.status is Status.FAILED
    assert "between 1 and the 50 training examples; got 51" in outcome.reason


def test_lack_of_memory_in_the_build_is_out_of_memory():
    def build():
        raise MemoryError

    outcome, _ = train(build, asked_for())
    assert outcome.status is Status.OUT_OF_MEMORY


def test_an_interrupt_passes():
    def report(_):
        raise KeyboardInterrupt("stop")

    session = TrainingSession(dense_model, make_data())
    with pytest.raises(KeyboardInterrupt, match=r"^stop$"):
        session.train(asked_for(), report)


def test_inputs_and_outputs_may_be_nested():
    data = make_data()

    def build():
        left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
        joined = keras.layers.Concatenate()([left, right])
        outputs = {
            "one": keras.layers.Dense(3, activation="softmax", name="one")(joined),
            "two": keras.layers.Dense(1, name="two")(joined),
        }
        model = keras.Model({"left": left, "right": right}, outputs)
        model.compile("adam", {"one": "sparse_categorical_crossentropy", "two": "mse"}, metrics={"one": "accuracy"})
        return model

    def nested(x, y):
        return {"left": x[:, :3], "right": x[:, 3:]}, {"one": y, "two": y.astype("float64")}

    both = Data(*nested(data.x_train, data.y_train), *nested(data.x_val, data.y_val))
    asked = asked_for(batch_size=7)
    outcome, recorder = train(build, asked, data=both)
    assert outcome.status is Status.COMPLETED, outcome.reason
    keras.utils.set_random_seed(0)
    assert_same_history(recorder.history, plain_fit_history(build(), both, asked))


def test_a_training_beside_something_else_tells_no_seconds(monkeypatch):
    monkeypatch.setattr(Planner, "_is_disturbed", lambda _: True)
    outcome = TrainingSession(dense_model, make_data()).train(make_trial(8), lambda _: True)
    assert outcome.status is Status.COMPLETED
    assert (outcome.seconds, outcome.examples_per_second, outcome.energy_joules) == (None, None, None)
    assert outcome.energy_note == "XLA still compiled beside the training"
