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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from search_spaces import BatchSize, LearningRate, SearchSpace
from tuning.instructions import Budget
from tuning.messages import Event, Request
from tuning.objective import Objective
from tuning.plans.halving import Halving
from tuning.plans.plan import GridPlan
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.run.executor import Device, Executor
from tuning.run.memory_limit import MemoryLimit
from tuning.search.loop import SearchLoop
from tuning.show.progress import SearchProgress
from tuning.study.storage import create_study, journal_of
from tuning.study.study import Study
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

OBJECTIVE = Objective("val_accuracy", "max")
METRICS = {"loss": 0.5, "accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.5}


class InstantExecutor:
    """Answers every trial at once, with the reports that a real one would send."""

    def __init__(self) -> None:
        memory = MemoryLimit(8 * 2**30, "imagined")
        self._device = Device("cpu:0", "instant", "here", is_gpu=False, cores=1, threads=1, memory=memory)
        self._waiting: list[Event] = []

    def devices(self) -> tuple[Device, ...]:
        return (self._device,)

    def submit(self, request: Trial | Request, device: str) -> None:
        assert isinstance(request, Trial)
        assert device == self._device.name
        self._waiting = [
            EpochReport(request.trial_id, epoch, 1000 * epoch, 10 * epoch, METRICS, 0.1 * epoch)
            for epoch in range(1, request.budget.epochs + 1)
        ]
        self._waiting.append(TrialOutcome(request.trial_id, Status.COMPLETED, seconds=1.0, loop="keras"))

    def events(self, timeout_s: float) -> list[Event]:
        del timeout_s
        event, *self._waiting = self._waiting
        return [event]

    def stop(self, trial_id: str) -> None:
        del trial_id

    def renew(self, device: str) -> None:
        del device

    def close(self) -> None:
        self._waiting = []


class NoAssistant:
    """Leaves trials as they are; a grid asks for no measurement."""

    def instruct(self, trial: Trial) -> Trial:
        return trial

    def measure(self, wish: object) -> None:
        raise AssertionError(wish)

    def trial_ended(self, trial: Trial) -> None:
        del trial


@contextmanager
def scripted_search(
    directory: Path, name: str, executor: Executor, *, trials: int, epochs: int = 1, postgres: str | None = None
) -> Iterator[tuple[SearchLoop, MlflowTracker]]:
    """Yield the loop of a grid whose stores are open, and its tracker.

    Args:
        directory: Where MLflow's database lies, and the study unless it is in a server.
        name: Of the study.
        executor: Trains what is scripted.
        trials: So many batch sizes, one seed each.
        epochs: Of each trial.
        postgres: The address of a server for the study; None for a journal.
    """
    space = SearchSpace(BatchSize.of(*range(1, trials + 1)), LearningRate(), model_rate=0.001)
    storage, study = journal_of(directory, postgres), Study(name)
    create_study(storage, name, objective=OBJECTIVE, settings={})
    study.open(storage, OBJECTIVE)
    tracker = MlflowTracker(f"sqlite:///{directory / 'mlflow.db'}")
    tracker.start_study(name, {"objective": "val_accuracy", "mode": "max"})
    plan = GridPlan(space, 1, budget=Budget(epochs))
    with SearchProgress(trials, (), objective=OBJECTIVE, quiet=True) as display:
        halving = Halving(OBJECTIVE, n_train=1000, stops=False)
        yield SearchLoop(study, plan, executor, tracker, display, assistant=NoAssistant(), halving=halving), tracker


def seconds_of_search(directory: Path, trials: int, epochs: int) -> float:
    """Return the wall time of a search of `trials` trials with `epochs` epochs each, stores opened beforehand."""
    executor = InstantExecutor()
    with scripted_search(directory, f"e{epochs}", executor, trials=trials, epochs=epochs) as (loop, tracker):
        began = time.perf_counter()
        loop.run()
        tracker.close()
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Milliseconds of driver and MLflow per trial and per epoch.")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as directory:
        short = seconds_of_search(Path(directory), arguments.trials, 1) / arguments.trials
        long = seconds_of_search(Path(directory), arguments.trials, arguments.epochs) / arguments.trials
    epoch = (long - short) / (arguments.epochs - 1)
    print(f"per epoch  {1000 * epoch:6.1f} ms   (goal: at most 10)")
    print(f"per trial  {1000 * (short - epoch):6.1f} ms   (goal: at most 30, without its epochs)")


if __name__ == "__main__":
    main()
