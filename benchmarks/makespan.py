"""How much sooner a search ends on more devices, in virtual time: how wide it is.

    python benchmarks/makespan.py

The three searches decide as they always do, on trainings in closed form whose epochs take virtual seconds: each update
0.1 s, and 1 ms for each of its examples; a measurement takes 1 s. A device that waits costs nothing here, nor does the
driver. A table of virtual time cannot show the time to move data and to start workers.
"""

from __future__ import annotations

import argparse
import heapq
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fakes import RecordingTracker, description, device
from scripted_searches import N_TRAIN, arguments, curve, probes

import tuning
from search_spaces import BatchSize
from tuning.messages import DescribeRequest, Event, Request
from tuning.run.executor import Device
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

PROBE_S = 1.0


def seconds_per_update(batch_size: int) -> float:
    """Return what an update takes."""
    return 0.1 + 1e-3 * batch_size


class VirtualExecutor:
    """Devices on which trials take virtual seconds, told in their order.

    Args:
        width: How many devices.
    """

    def __init__(self, width: int) -> None:
        self._devices = tuple(device(f"cpu:{number}") for number in range(width))
        self._ahead: list[tuple[float, int, Event]] = []
        self._n_scheduled = 0
        self._stopped: set[str] = set()
        self.now_s = self.busy_s = 0.0
        self.n_trials = 0

    def devices(self) -> tuple[Device, ...]:
        return self._devices

    def submit(self, request: Trial | Request, device: str) -> None:
        if not isinstance(request, Trial):
            answer = description() if isinstance(request, DescribeRequest) else probes(request)
            self._schedule(self.now_s + PROBE_S, answer)
            return
        self.n_trials += 1
        epoch_s = N_TRAIN / request.batch_size * seconds_per_update(request.batch_size)
        at = self.now_s
        for epoch, value in enumerate(curve(request), start=1):
            at = self.now_s + epoch * epoch_s
            seen = epoch * N_TRAIN
            metrics = {"loss": 1 - value, "val_loss": 1 - value, "accuracy": value, "val_accuracy": value}
            updates = seen // request.batch_size
            self._schedule(at, EpochReport(request.trial_id, epoch, seen, updates, metrics, epoch * epoch_s))
        rate = request.batch_size / seconds_per_update(request.batch_size)
        outcome = TrialOutcome(request.trial_id, Status.COMPLETED, examples_per_second=rate, loop="device")
        self._schedule(at, outcome)
        self.busy_s += at - self.now_s

    def events(self, timeout_s: float) -> list[Event]:
        if not self._ahead:
            return []
        at, _, event = heapq.heappop(self._ahead)
        self.now_s = at
        if event.trial_id not in self._stopped or not isinstance(event, EpochReport):
            return [event]
        last = max(entry[0] for entry in self._ahead if entry[2].trial_id == event.trial_id)
        self.busy_s -= last - at
        self._ahead = [entry for entry in self._ahead if entry[2].trial_id != event.trial_id]
        heapq.heapify(self._ahead)
        return [event, TrialOutcome(event.trial_id, Status.PRUNED)]

    def stop(self, trial_id: str) -> None:
        self._stopped.add(trial_id)

    def renew(self, device: str) -> None:
        pass

    def close(self) -> None:
        pass

    def _schedule(self, at: float, event: Event) -> None:
        self._n_scheduled += 1
        heapq.heappush(self._ahead, (at, self._n_scheduled, event))


def grid(**common: Any) -> Any:
    """7 batch sizes, 3 seeds."""
    return tuning.GridSearch(lambda: None, "val_accuracy", batch_size=BatchSize(8, 512), seeds=3, **common)


def bayes(**common: Any) -> Any:
    """30 proposals, 3 fresh seeds of the leaders."""
    sizes = BatchSize(8, 512)
    return tuning.BayesianOptimization(lambda: None, "val_accuracy", batch_size=sizes, max_trials=30, seeds=3, **common)


def tune(**common: Any) -> Any:
    """In stages, with halving."""
    return tuning.StagedSearch(lambda: None, "val_accuracy", **common)


def measure(make: Callable[..., Any], width: int) -> tuple[float, int, float]:
    """Return the virtual seconds of a search, its trials, and the share of that for which the devices were busy."""
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuner = make(directory=directory, project_name="s", tracker=RecordingTracker(), probe=False, threads=1)
        executor = VirtualExecutor(width)
        tuner.run(arguments(), executor)
    return executor.now_s, executor.n_trials, executor.busy_s / executor.now_s / width


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[1, 2, 4, 8, 16, 64])
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = Table("search", *(f"{width} device{'s' * (width > 1)}" for width in asked.widths))
    for make in (grid, bayes, tune):
        found = [measure(make, width) for width in asked.widths]
        cells = [
            f"{s:.0f} s, {found[0][0] / s:.1f} times\n{n} trials, {100 * share:.0f} % busy" for s, n, share in found
        ]
        table.add_row(make.__name__, *cells)
    Console(width=160).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
