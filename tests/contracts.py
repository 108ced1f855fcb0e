"""What every implementation of a face must do; a test class inherits it and overrides one fixture."""

from __future__ import annotations

import time

import pytest

from tuning.messages import DescribeRequest, Event, ModelDescription
from tuning.run.executor import Executor
from tuning.trial import EpochReport, Status, TrialOutcome, TrialRequest


def await_end(executor: Executor, trial_id: str, patience_s: float = 120.0) -> list[Event]:
    """Every event up to the one that ends a request."""
    seen: list[Event] = []
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        seen += executor.events(timeout_s=1.0)
        if any(event.trial_id == trial_id and not isinstance(event, EpochReport) for event in seen):
            return seen
    raise AssertionError(f"{trial_id} did not end; seen: {seen}")


class ExecutorContract:
    """An executor runs the digits' perceptron; the heir brings a fixture `executor`, shared by its tests."""

    def test_a_model_is_described(self, executor: Executor) -> None:
        executor.submit(DescribeRequest("d", {}), executor.devices[0])
        (found,) = await_end(executor, "d")
        assert isinstance(found, ModelDescription)
        assert found.optimizer == "Adam"
        assert found.parameters == 64 * 128 + 128 + 128 * 10 + 10
        assert set(found.objectives) == {"loss", "accuracy", "val_loss", "val_accuracy"}

    def test_a_trial_reports_its_epochs_and_ends_once(self, executor: Executor) -> None:
        executor.submit(TrialRequest("t", batch_size=64, seed=0, epochs=2, learning_rate=0.01), executor.devices[0])
        *epochs, outcome = await_end(executor, "t")
        assert [event.epoch for event in epochs if isinstance(event, EpochReport)] == [1, 2]
        assert isinstance(outcome, TrialOutcome)
        assert outcome.status is Status.COMPLETED
        assert executor.events(timeout_s=0.0) == []

    def test_a_trial_that_diverges_says_so(self, executor: Executor) -> None:
        executor.submit(TrialRequest("n", batch_size=8, seed=0, epochs=2, learning_rate=1e30), executor.devices[0])
        outcome = await_end(executor, "n")[-1]
        assert isinstance(outcome, TrialOutcome)
        assert outcome.status is Status.DIVERGED

    def test_an_unknown_device_is_refused(self, executor: Executor) -> None:
        with pytest.raises(ValueError, match="device must be"):
            executor.submit(DescribeRequest("x", {}), "nowhere:7")
