"""What follows the batch size in a search: settled from the model and the options, and told."""

from __future__ import annotations

from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
from fakes import description

from search_spaces import BatchSize, Data, LearningRate
from search_spaces.entry import entries_of
from search_spaces.scaling import Scaling
from tuning.objective import Objective
from tuning.search.following import notes_of_following, scaling_of, told
from tuning.search.options import SearchArguments, SearchOptions
from tuning.search.preparation import Setup, resolve_space

COSINE = {"schedule": "CosineDecay", "schedule_updates": 100.0, "learning_rate": 0.1}


def setup(*, rate: LearningRate | None = None, callbacks: tuple[Any, ...] = (), **model: Any) -> Setup:
    x = np.zeros((640, 2), "float32")
    arguments = SearchArguments(Data(x, x[:, 0], x, x[:, 0]), epochs=10, callbacks=callbacks)
    described = description(**model)
    space = resolve_space(described, (), batch_size=BatchSize.of(8, 64), learning_rate=rate, n_train=640)
    return Setup(arguments, described, Objective("val_accuracy"), space)


def test_a_plain_model_has_nothing_else_to_follow() -> None:
    found = scaling_of(setup(), SearchOptions())
    assert found == Scaling(32, reference_rate=0.001)
    assert told(setup(), found) == {}


def test_a_schedule_counts_the_updates_of_the_batch_size_at_which_the_rate_is_right() -> None:
    found = setup(**COSINE)
    scaling = scaling_of(found, SearchOptions())
    assert (scaling.schedule_at, scaling.reference_rate) == (32.0, 0.1)
    assert told(found, scaling)["schedule"] == (
        "CosineDecay, the same course in examples: its updates are those of batch size 32"
    )
    assert notes_of_following(found, scaling) == []


def test_a_schedule_may_span_the_training_or_be_left_alone() -> None:
    found = setup(**COSINE)
    # 10 epochs of 640 examples in 100 updates
    assert scaling_of(found, SearchOptions(schedule_batch_size="training")).schedule_at == 64.0
    alone = scaling_of(found, SearchOptions(schedule_batch_size="off"))
    assert alone.schedule_at is None
    assert told(found, alone)["schedule"] == "CosineDecay, left alone"
    (note,) = notes_of_following(found, alone)
    assert "its course is another at each" in note


def test_an_unknown_schedule_is_a_caveat_unless_it_fits_itself_to_the_batch_size() -> None:
    unknown = setup(schedule="Mine", learning_rate=None)
    (note,) = notes_of_following(unknown, scaling_of(unknown, SearchOptions()))
    assert note.startswith("Mine is none of Keras's schedules")
    fitted = setup(schedule="Mine", learning_rate=None, tells_batch_size=True)
    scaling = scaling_of(fitted, SearchOptions())
    assert notes_of_following(fitted, scaling) == []
    assert told(fitted, scaling)["schedule"] == "Mine, which the build function fits to the batch size itself"


def test_a_schedule_that_fits_itself_keeps_its_rates_too() -> None:
    found = setup(**COSINE, tells_batch_size=True)
    assert found.space.learning_rate is None
    assert scaling_of(found, SearchOptions()).schedule_at is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "0.004 at batch size 32, its effect in an epoch held"),
        ({"scale_weight_decay": False}, "0.004 at every batch size"),
    ],
)
def test_weight_decay_is_told_as_it_was_set(options: dict[str, Any], expected: str) -> None:
    found = setup(weight_decay=0.004)
    assert told(found, scaling_of(found, SearchOptions(**options)))["weight_decay"] == expected


def test_callbacks_that_set_rates_are_named() -> None:
    found = setup(callbacks=(keras.callbacks.ReduceLROnPlateau(), keras.callbacks.EarlyStopping()))
    following = told(found, scaling_of(found, SearchOptions()))
    assert following == {"callback_rates": "those of ReduceLROnPlateau relative to the learning rate"}


def test_the_rate_at_the_reference_is_the_one_that_was_given() -> None:
    found = setup(rate=LearningRate(0.01, at_batch_size=16))
    assert scaling_of(found, SearchOptions(scale_betas=True)) == Scaling(16, reference_rate=0.01, decay_constants=True)


@pytest.mark.parametrize(
    ("asked", "expected"), [(None, (10, 20, 40)), (BatchSize.of(16, 32), (16, 32))], ids=["declared", "asked for"]
)
def test_batch_sizes_that_the_build_function_declares_are_adopted(
    asked: BatchSize | None, expected: tuple[int, ...]
) -> None:
    declared = keras_tuner.HyperParameters()
    declared.Choice("batch_size", [10, 20, 40])
    space = resolve_space(
        description(),
        entries_of(declared.space),
        batch_size=asked,
        default_batch_size=BatchSize.of(8),
        learning_rate=None,
        n_train=640,
    )
    assert space.batch_size.values() == expected


class WarmUp(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = 0.1


class Counter(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs = epoch


@pytest.mark.parametrize(
    ("callback", "named"),
    [
        (WarmUp(), "WarmUp"),
        (
            keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: [model.optimizer.learning_rate for model in ()]),
            "LambdaCallback",
        ),
        (Counter(), ""),
        (keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), ""),
        (keras.callbacks.EarlyStopping(), ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_callbacks_of_ones_own_that_mention_a_rate_are_a_caveat(callback: Any, named: str) -> None:
    found = setup(callbacks=(callback,))
    notes = notes_of_following(found, scaling_of(found, SearchOptions()))
    assert [note.partition(" may set")[0] for note in notes] == ([f"Learning rates that {named}"] if named else [])
