"""What every implementation of a face must do; a test class inherits it and overrides a fixture or two."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from search_spaces import Setting
from tuning.instructions import Budget, Instructions
from tuning.messages import DescribeRequest, Event, ModelDescription, Throughput, ThroughputRequest
from tuning.run.executor import Device, Executor
from tuning.trial import EpochReport, Status, Trial, TrialOutcome


def trial_of(
    trial_id: str,
    batch_size: int = 64,
    *,
    epochs: int = 1,
    learning_rate: float | None = 0.01,
    **instructions: Any,
) -> Trial:
    """A trial of seed 0, unless told otherwise at a learning rate that suits the digits."""
    setting = Setting(batch_size, learning_rate)
    return Trial(setting, 0, budget=Budget(epochs), trial_id=trial_id, instructions=Instructions(**instructions))


def await_device(executor: Executor, patience_s: float = 60.0) -> Device:
    """The first device, as soon as there is one."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if executor.devices():
            return executor.devices()[0]
        executor.events(timeout_s=1.0)
    raise AssertionError("no device was told")


def await_end(executor: Executor, trial_id: str, patience_s: float = 120.0) -> list[Event]:
    """Every event up to the one that ends a request."""
    seen: list[Event] = []
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        seen += executor.events(timeout_s=1.0)
        if any(event.trial_id == trial_id and not isinstance(event, EpochReport) for event in seen):
            return seen
    raise AssertionError(f"{trial_id} did not end; seen: {seen}")


def outcome_of(executor: Executor, trial: Trial) -> TrialOutcome:
    """How a trial ends on the first device."""
    executor.submit(trial, await_device(executor).name)
    outcome = await_end(executor, trial.trial_id)[-1]
    assert isinstance(outcome, TrialOutcome)
    return outcome


class ExecutorContract:
    """An executor runs the digits' perceptron.

    The heir brings `executor`, shared by its tests, whose weights go to `weights`; and `make`, which starts another.
    """

    def test_devices_are_told_with_their_facts_which_stay(self, executor: Executor) -> None:
        await_device(executor)
        devices = executor.devices()
        assert len({device.name for device in devices}) == len(devices)
        for device in devices:
            assert device.kind
            assert device.node
            assert 1 <= device.threads <= device.cores
            assert device.memory.bytes > 0
            assert device.memory.source
        assert executor.devices() == devices

    def test_a_model_is_described(self, executor: Executor) -> None:
        executor.submit(DescribeRequest("d", {}), await_device(executor).name)
        (found,) = await_end(executor, "d")
        assert isinstance(found, ModelDescription)
        assert found.optimizer == "Adam"
        assert found.parameters == 64 * 128 + 128 + 128 * 10 + 10
        assert set(found.objectives) == {"loss", "accuracy", "val_loss", "val_accuracy"}

    def test_a_measurement_is_answered(self, executor: Executor) -> None:
        executor.submit(ThroughputRequest("m", 64, chunks=1, chunk_seconds=0.01), await_device(executor).name)
        (found,) = await_end(executor, "m")
        assert isinstance(found, Throughput)
        assert found.seconds_per_update > 0

    def test_a_trial_reports_its_epochs_and_ends_once(self, executor: Executor) -> None:
        executor.submit(trial_of("t", epochs=2), await_device(executor).name)
        *epochs, outcome = await_end(executor, "t")
        assert [event.epoch for event in epochs if isinstance(event, EpochReport)] == [1, 2]
        assert isinstance(outcome, TrialOutcome)
        assert outcome.status is Status.COMPLETED
        assert executor.events(timeout_s=0.0) == []

    def test_looking_at_the_devices_loses_no_event(self, executor: Executor) -> None:
        executor.submit(trial_of("seen", epochs=3), await_device(executor).name)
        seen: list[Event] = []
        deadline = time.monotonic() + 120.0
        while not any(isinstance(event, TrialOutcome) for event in seen) and time.monotonic() < deadline:
            executor.devices()
            seen += executor.events(timeout_s=0.05)
        assert [event.epoch for event in seen if isinstance(event, EpochReport)] == [1, 2, 3]
        assert isinstance(seen[-1], TrialOutcome)

    def test_a_trial_that_diverges_says_so(self, executor: Executor) -> None:
        trial = trial_of("n", 8, epochs=2, learning_rate=1e30)
        assert outcome_of(executor, trial).status is Status.DIVERGED

    def test_weights_that_are_to_be_kept_arrive(self, executor: Executor, weights: Path) -> None:
        assert outcome_of(executor, trial_of("kept", keep_weights=True)).status is Status.COMPLETED
        assert outcome_of(executor, trial_of("dropped")).status is Status.COMPLETED
        (path,) = weights.iterdir()
        assert path.name.startswith("kept")
        assert path.stat().st_size > 1000

    def test_a_device_runs_one_request_at_a_time(self, executor: Executor) -> None:
        name = await_device(executor).name
        executor.submit(trial_of("b"), name)
        with pytest.raises(ValueError, match="must be idle; it runs b"):
            executor.submit(trial_of("c"), name)
        await_end(executor, "b")

    def test_an_unknown_device_is_refused(self, executor: Executor) -> None:
        with pytest.raises(ValueError, match=r"device must be one of .*; got 'nowhere:7'"):
            executor.submit(DescribeRequest("x", {}), "nowhere:7")
        with pytest.raises(ValueError, match=r"device must be one of .*; got 'nowhere:7'"):
            executor.renew("nowhere:7")

    def test_a_trial_stops_when_asked_and_others_do_not(self, executor: Executor) -> None:
        executor.submit(trial_of("s", 8, epochs=500), await_device(executor).name)
        executor.stop("another")
        executor.stop("s")
        *epochs, outcome = await_end(executor, "s")
        assert len(epochs) == 1
        assert isinstance(outcome, TrialOutcome)
        assert outcome.status is Status.PRUNED

    def test_a_device_renewed_while_idle_works_on(self, executor: Executor) -> None:
        device = await_device(executor)
        executor.renew(device.name)
        assert outcome_of(executor, trial_of("renewed")).status is Status.COMPLETED
        assert executor.devices()[0] == device

    def test_a_request_on_a_device_that_is_renewed_is_dropped(self, executor: Executor) -> None:
        name = await_device(executor).name
        executor.submit(trial_of("busy", 8, epochs=500), name)
        executor.renew(name)
        executor.submit(trial_of("after"), name)
        assert {event.trial_id for event in await_end(executor, "after")} == {"after"}

    def test_a_closed_executor_has_no_devices(self, make: Callable[[], Executor]) -> None:
        executor = make()
        name = await_device(executor).name
        executor.submit(trial_of("last", 8, epochs=500), name)
        executor.close()
        executor.close()
        assert executor.devices() == ()
        assert executor.events(timeout_s=0.0) == []
        with pytest.raises(ValueError, match="device must be one of none"):
            executor.submit(trial_of("later"), name)


def wide_model() -> Any:
    """Needs about 4 MB of activations per example, and little time for them."""
    import keras

    narrow, wide = keras.layers.Dense(1), keras.layers.Dense(500_000, activation="relu")
    model = keras.Sequential([keras.Input((64,)), narrow, wide, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-9), "mse")
    return model


def model_that_dies() -> Any:
    """Ends its process when it is built, as a faulty native library does, with a last word."""
    import os

    os.write(2, b"a fault in a library\n")
    os.abort()


class ProcessContract:
    """An executor whose workers are processes.

    The heir brings `executor`, a `kill` of the first device's worker, and
    `make_limited`, which starts another executor of a model with a limit on memory.
    """

    def test_a_training_that_dies_is_one_failure_with_its_exit_code_and_log(
        self, make_limited: Callable[[Any, int], Executor]
    ) -> None:
        with closing(make_limited(model_that_dies, 2**40)) as executor:
            outcome = outcome_of(executor, trial_of("dies"))
            assert executor.events(timeout_s=0.0) == []
        assert (outcome.status, outcome.exit_code) == (Status.FAILED, -signal.SIGABRT)
        assert "SIGABRT" in outcome.reason
        assert "a fault in a library" in outcome.log_tail

    def test_a_size_above_the_memory_limit_is_out_of_memory_and_a_smaller_one_trains(
        self, make_limited: Callable[[Any, int], Executor]
    ) -> None:
        with closing(make_limited(wide_model, 3 * 2**30)) as executor:
            assert await_device(executor).memory.bytes == 3 * 2**30
            fits = outcome_of(executor, trial_of("small", 100, learning_rate=None, loop="keras"))
            assert fits.status is Status.COMPLETED, fits
            failed = outcome_of(executor, trial_of("large", 1437, learning_rate=None, loop="keras"))
            assert failed.status is Status.OUT_OF_MEMORY, failed
            assert "exceeds the limit" in failed.reason

    def test_a_worker_killed_from_outside_loses_its_trial_and_is_replaced(
        self, executor: Executor, kill: Callable[[], None]
    ) -> None:
        executor.submit(trial_of("k", 1, epochs=500), await_device(executor).name)
        executor.events(timeout_s=30.0)
        kill()
        outcome = await_end(executor, "k")[-1]
        assert isinstance(outcome, TrialOutcome)
        assert outcome.status is Status.LOST
        assert outcome.exit_code == -9
        assert "SIGKILL" in outcome.reason
        assert outcome_of(executor, trial_of("next")).status is Status.COMPLETED
