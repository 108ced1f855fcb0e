"""What a search costs beside its trainings: milliseconds of driver and MLflow (sqlite) per trial and per epoch.

    python benchmarks/overhead.py

Trials are answered at once by an executor that trains nothing, so that all the time is the search's own: asking the
plan, Optuna's journal, KerasTuner's records, and MLflow. Two runs with different numbers of epochs tell the cost of a
trial from that of an epoch. While real trials train, the driver's work overlaps with them, apart from the hand-over.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import keras_tuner
from tuning.study.oracle import OptunaOracle
from tuning.study.plans import GridPlan
from tuning.study.samplers import quiet_optuna

from search_spaces import BatchSize, LearningRate, SearchSpace
from tuning.messages import Event, Request
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.search.loop import SearchLoop
from tuning.show.progress import SearchProgress
from tuning.study.storage import journal_of, open_study
from tuning.trial import EpochReport, Status, TrialOutcome, TrialRequest

METRICS = {"loss": 0.5, "accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.5}


class InstantExecutor:
    """Answers every trial at once, with the reports that a real one would send."""

    devices = ("cpu:0",)

    def __init__(self) -> None:
        self._waiting: list[Event] = []

    def submit(self, request: Request, device: str) -> None:
        assert isinstance(request, TrialRequest)
        assert device in self.devices
        self._waiting = [
            EpochReport(request.trial_id, epoch, 1000 * epoch, 10 * epoch, METRICS, 0.1 * epoch)
            for epoch in range(1, request.epochs + 1)
        ]
        self._waiting.append(TrialOutcome(request.trial_id, Status.COMPLETED, seconds=1.0, loop="keras"))

    def events(self, timeout_s: float) -> list[Event]:
        del timeout_s
        event, *self._waiting = self._waiting
        return [event]

    def stop(self, trial_id: str) -> None:
        del trial_id

    def shutdown(self) -> None:
        self._waiting = []


def seconds_of_search(directory: Path, trials: int, epochs: int) -> float:
    """Wall time of a search of `trials` trials with `epochs` epochs each, stores opened beforehand."""
    space = SearchSpace(BatchSize.of(*range(1, trials + 1)), LearningRate(), model_rate=0.001)
    oracle, tracker = OptunaOracle(), MlflowTracker(f"sqlite:///{directory / 'mlflow.db'}")
    oracle.objective = keras_tuner.Objective("val_accuracy", "max")
    oracle.open(open_study(journal_of(directory), f"e{epochs}", maximize=True, settings={}), GridPlan(space, 1))
    tracker.start_study(f"e{epochs}", {"objective": "val_accuracy", "mode": "max"})
    with SearchProgress(trials, (), objective="val_accuracy", maximize=True, epochs=epochs, quiet=True) as display:
        loop = SearchLoop(
            oracle,
            InstantExecutor(),
            tracker,
            display,
            request_of=lambda record: TrialRequest(record.trial_id, record.setting.batch_size, 0, epochs),
        )
        began = time.perf_counter()
        loop.run()
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Milliseconds of driver and MLflow per trial and per epoch.")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    quiet_optuna()
    with tempfile.TemporaryDirectory() as directory:
        short = seconds_of_search(Path(directory), arguments.trials, 1) / arguments.trials
        long = seconds_of_search(Path(directory), arguments.trials, arguments.epochs) / arguments.trials
    epoch = (long - short) / (arguments.epochs - 1)
    print(f"per epoch  {1000 * epoch:6.1f} ms   (goal: at most 10)")
    print(f"per trial  {1000 * (short - epoch):6.1f} ms   (goal: at most 30, without its epochs)")


if __name__ == "__main__":
    main()
