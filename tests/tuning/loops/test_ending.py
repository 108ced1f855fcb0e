"""The ending of a training: a longer one goes on from there, bit for bit, or is told why none can."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from training_helpers import CLASSES, FEATURES, Recorder, dense_model, make_data, make_trial

from search_spaces import Stream
from tuning.loops.session import TrainingSession
from tuning.loops.state_file import NOT_KEPT, holds_state, state_file
from tuning.trial import Status


def rich_model(optimizer="adam", *, built=True):
    """A model with all kinds of state: averages, random numbers, an optimizer's moments."""
    model = keras.Sequential(
        [
            *([keras.Input((FEATURES,))] if built else []),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(CLASSES, activation="softmax", dtype="float32"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def mixed_model():
    keras.config.set_dtype_policy("mixed_float16")
    return rich_model()


def unbuilt_model():
    return rich_model(built=False)


def course(reports):
    return [(each.epoch, each.updates, each.examples_seen, dict(each.metrics)) for each in reports]


def train(build, directory, asked, data=None, **options):
    recorder = Recorder()
    session = TrainingSession(build, data or make_data(), weights_directory=directory, **options)
    return session.train(asked, recorder), recorder.epochs


@pytest.mark.parametrize(
    ("build", "instructions"),
    [
        (mixed_model, {"loop": "device"}),
        (unbuilt_model, {"loop": "keras", "micro_batch_size": 3}),
    ],
    ids=["blocks in mixed precision", "plain fit that accumulates"],
)
def test_a_training_that_goes_on_is_bit_for_bit_the_one_that_was_planned_so_long(build, instructions, tmp_path):
    asked = make_trial(batch_size=12, epochs=4, keep_state=True, **instructions)  # 50 examples leave some over
    _, planned = train(build, tmp_path, replace(asked, trial_id="planned"))
    _, first = train(build, tmp_path, replace(asked, budget=replace(asked.budget, epochs=2)))
    goes_on = replace(asked.instructions, continues="t")
    outcome, rest = train(build, tmp_path, replace(asked, trial_id="u", instructions=goes_on, reports=tuple(first)))
    assert outcome.status is Status.COMPLETED, outcome.reason
    assert course([*first, *rest]) == course(planned)
    assert [each.seconds for each in rest] == sorted(each.seconds for each in rest)
    assert rest[0].seconds > first[-1].seconds
    assert outcome.seconds > first[-1].seconds
    assert holds_state(tmp_path, replace(asked, trial_id="u", reports=(*first, *rest)))


def test_a_state_is_that_of_one_training_and_not_of_another_of_its_name(tmp_path):
    asked = make_trial(loop="keras", epochs=1, keep_state=True)
    _, reports = train(rich_model, tmp_path, asked)
    ended = replace(asked, reports=tuple(reports))
    assert holds_state(tmp_path, ended)
    assert not holds_state(tmp_path, replace(ended, seed=1))
    other = replace(reports[-1], metrics={**reports[-1].metrics, "loss": 1.0})
    assert not holds_state(tmp_path, replace(ended, reports=(other,)))
    content = state_file(tmp_path, "t").read_bytes()
    state_file(tmp_path, "t").write_bytes(content[: len(content) // 2])
    assert not holds_state(tmp_path, ended)


def test_the_state_of_another_model_is_refused(tmp_path):
    asked = make_trial(loop="keras", epochs=1, keep_state=True)
    _, reports = train(rich_model, tmp_path, asked)
    goes_on = make_trial(loop="keras", epochs=2, continues="t")
    outcome, _ = train(dense_model, tmp_path, replace(goes_on, reports=tuple(reports)))
    assert outcome.status is Status.FAILED
    assert "has other variables" in outcome.reason


class Noisy(keras.layers.Layer):
    def call(self, x, training=False):
        return x + keras.random.normal(keras.ops.shape(x)) if training else x


def noisy_model():
    model = keras.Sequential([keras.Input((FEATURES,)), Noisy(), keras.layers.Dense(CLASSES, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def made(data):
    import tensorflow as tf

    return Stream(
        train=lambda seed, epoch: tf.data.Dataset.from_tensor_slices(data.train).shuffle(50, seed=seed * 100 + epoch),
        validation=lambda: tf.data.Dataset.from_tensor_slices(data.validation),
        n_train=50,
        n_val=22,
        identity="made",
    )


@pytest.mark.parametrize(
    ("build", "options", "told"),
    [
        (rich_model, {"callbacks": [keras.callbacks.EarlyStopping()]}, "nothing keeps what EarlyStopping remembers"),
        (lambda: rich_model(keras.optimizers.SGD(use_ema=True)), {}, "averaged weights"),
        (noisy_model, {}, "Noisy may keep state of its own"),
        (rich_model, {"data": made(make_data())}, "a Stream can only be read from its beginning"),
    ],
    ids=["callback", "averages", "own layer", "stream"],
)
def test_what_cannot_go_on_keeps_no_state_and_says_why(build, options, told, tmp_path):
    outcome, _ = train(build, tmp_path, make_trial(loop="keras", epochs=1, keep_state=True), **options)
    assert outcome.status is Status.COMPLETED, outcome.reason
    assert told in outcome.settings[NOT_KEPT]
    assert not list(tmp_path.iterdir())


class Scaled(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x


def test_a_layer_of_ones_own_goes_on_where_the_graph_proves_that_it_hides_nothing(tmp_path):
    def build():
        model = keras.Sequential([keras.Input((FEATURES,)), Scaled(), keras.layers.Dense(CLASSES)])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    outcome, _ = train(build, tmp_path, make_trial(loop="device", epochs=1, keep_state=True))
    assert NOT_KEPT not in outcome.settings
    assert np.load(state_file(tmp_path, "t")).files
