"""One training on several cards, for which logical devices of the CPU stand in; one worker serves most tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from contracts import await_device, await_end, trial_of

from search_spaces import Data, Setting
from tuning.instructions import Budget
from tuning.loops.keras_loop import PER_REPLICA
from tuning.loops.session import TrainingSession
from tuning.messages import (
    DescribeRequest,
    MemoryProbe,
    MemoryProbeRequest,
    ModelDescription,
    Request,
)
from tuning.noise_messages import Branches, BranchRequest, NoiseScaleRequest, NoiseScales
from tuning.run.executor import WorkerSetup
from tuning.run.facts import cpu_model
from tuning.run.local import LocalExecutor
from tuning.trial import EpochReport, Status, Trial

# keras 3.15.1 converts variables by np.array(variable), which numpy 2 deprecates, where it saves weights
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

N_TRAIN, N_VAL = 100, 33  # neither is a multiple of two, or of four


def some_data() -> Data:
    x = np.random.default_rng(0).normal(size=(N_TRAIN + N_VAL, 5)).astype("float32")
    y = (x[:, 0] * x[:, 1] > 0).astype("int32")
    return Data(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:])


def build() -> Any:
    """A model of much that could differ: a regulariser, statistics of all examples, weight decay."""
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(8, activation="relu", kernel_regularizer="l2"),
            keras.layers.BatchNormalization(synchronized=True),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.AdamW(0.02, weight_decay=0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def kept(folder: Path) -> list[keras.callbacks.Callback]:
    return [
        keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True),
        keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cards")


@pytest.fixture(scope="module")
def two(folder: Path) -> Iterator[LocalExecutor]:
    with closing(executor_of("cpu:0,1", folder)) as executor:
        yield executor


def executor_of(device: str, folder: Path) -> LocalExecutor:
    callbacks = kept(folder / "backup")
    setup = WorkerSetup(build, some_data(), callbacks, threads=4, weights_directory=folder / "weights")
    return LocalExecutor(setup, (device,))


def told(executor: LocalExecutor, request: Trial | Request) -> list[Any]:
    executor.submit(request, await_device(executor).name)
    return await_end(executor, request.trial_id)


@pytest.fixture(scope="module")
def alone(folder: Path) -> list[EpochReport]:
    """What the same training tells on one card."""
    reports: list[EpochReport] = []
    session = TrainingSession(build, some_data(), callbacks=kept(folder / "alone"))

    def report(epoch: EpochReport) -> bool:
        reports.append(epoch)
        return True

    assert session.train(TRIAL, report).status is Status.COMPLETED
    return reports


TRIAL = trial_of("t", 12, epochs=3, learning_rate=None, loop="keras", keep_weights=True)


REQUESTS = (
    (MemoryProbeRequest("memory", 12, loop="keras"), MemoryProbe),
    (NoiseScaleRequest("noise", 12, updates=4), NoiseScales),
    pytest.param(
        BranchRequest("branches", (12,), (0.01,), updates=2, examples=24, repeats=1), Branches, marks=pytest.mark.long
    ),
)


def check_equal(ours: list[Any], alone: list[EpochReport]) -> None:
    counted = [(epoch.epoch, epoch.updates, epoch.examples_seen) for epoch in ours]
    assert counted == [(epoch.epoch, epoch.updates, epoch.examples_seen) for epoch in alone]
    for mine, theirs in zip(ours, alone, strict=True):
        assert mine.metrics == pytest.approx(theirs.metrics, abs=1e-4)


def test_a_model_is_described_on_the_cards(two: LocalExecutor) -> None:
    device = await_device(two)
    assert (device.cards, device.kind, device.is_gpu) == (2, f"2 x {cpu_model()}", False)
    (found,) = told(two, DescribeRequest("describe", {}))
    assert isinstance(found, ModelDescription)
    assert (found.parameters, found.normalizes_by_card, found.clips_gradients) == (98, False, False)


def test_two_cards_train_as_one_and_their_weights_serve_elsewhere(
    two: LocalExecutor, alone: list[EpochReport], folder: Path
) -> None:
    *reports, outcome = told(two, replace(TRIAL, instructions=replace(TRIAL.instructions, loop="auto")))
    assert outcome.status is Status.COMPLETED, outcome
    check_equal(reports, alone)
    assert (outcome.loop, outcome.settings["replicas"], outcome.settings[PER_REPLICA]) == ("keras", 2, 6)
    model, data = build(), some_data()
    model.optimizer.build(model.trainable_variables)
    model.load_weights(folder / "weights" / "t.weights.h5")
    best = min(epoch.metrics["val_loss"] for epoch in alone)
    assert model.evaluate(data.x_val, data.y_val, verbose=0)[0] == pytest.approx(best, abs=1e-4)
    assert list((folder / "backup" / "t").iterdir())


def test_a_training_on_cards_stops_at_an_epoch(two: LocalExecutor) -> None:
    two.submit(replace(TRIAL, trial_id="stopped", budget=Budget(200)), await_device(two).name)
    seen = two.events(timeout_s=60.0)
    two.stop("stopped")
    *reports, outcome = [*seen, *await_end(two, "stopped")]
    assert outcome.status is Status.PRUNED
    assert 1 <= len(reports) < 200


@pytest.mark.parametrize(("request_", "kind"), REQUESTS)
def test_what_is_measured_apart_from_trials_is_measured_on_cards(
    two: LocalExecutor, request_: Request, kind: type[Any]
) -> None:
    (found,) = told(two, request_)
    assert isinstance(found, kind), found


def test_a_batch_that_cards_cannot_share_fails_and_a_failure_leaves_no_worker(two: LocalExecutor) -> None:
    *_, outcome = told(two, replace(TRIAL, setting=Setting(15, None)))
    assert outcome.status is Status.FAILED
    assert "must be a multiple of the 2 cards that share it; got 15" in outcome.reason
    assert two.process_id("cpu:0,1", threads=4) is None  # what adds up the gradients may be dead


@pytest.mark.long
def test_four_cards_train_as_one(folder: Path, alone: list[EpochReport]) -> None:
    with closing(executor_of("cpu:0,1,2,3", folder / "four")) as four:
        *reports, outcome = told(four, TRIAL)
    assert (outcome.status, outcome.settings[PER_REPLICA]) == (Status.COMPLETED, 3)
    check_equal(reports, alone)
