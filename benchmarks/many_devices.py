"""How many devices one driver keeps busy: trials of 10 s and 5 epochs on simulated devices, in real time.

    python benchmarks/many_devices.py [--devices 200] [--trials 2000] [--seconds 10] [--postgres URL]

The driver decides and records as in a search: a grid, the study in a journal file or in PostgreSQL, MLflow on sqlite in
its thread. The devices are a queue of the moments at which epochs and trials end. Told are the share of time for which
devices train, from the moment when all have been given a trial to the last start of one; the trials that start in a
second; processor time of the driver for each, MLflow's thread included; and what is still owed to MLflow at the end,
which a search writes after it. `--profile` tells where the driver's time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import heapq
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

sys.path.insert(0, str(Path(__file__).parent))

from overhead import METRICS, scripted_search

from tuning.messages import Event, Request
from tuning.run.executor import Device
from tuning.run.memory_limit import MemoryLimit
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

EPOCHS = 5
LEAST_BUSY, MOST_DRIVER_S = 0.9, 0.040


class SimulatedDevices:
    """Devices on which every trial takes the same time, by the clock.

    Args:
        number: How many.
        seconds: What a trial takes.
    """

    def __init__(self, number: int, seconds: float) -> None:
        memory = MemoryLimit(8 * 2**30, "imagined")
        self._devices = tuple(
            Device(f"sim:{index}", "simulated", "here", is_gpu=False, cores=1, threads=1, memory=memory)
            for index in range(number)
        )
        self._seconds = seconds
        self._ahead: list[tuple[float, int, Event]] = []
        self._n_scheduled = 0
        self.starts: list[float] = []

    def devices(self) -> tuple[Device, ...]:
        return self._devices

    def submit(self, request: Trial | Request, device: str) -> None:
        del device
        now, trial_id = time.perf_counter(), request.trial_id
        self.starts.append(now)
        for epoch in range(1, EPOCHS + 1):
            at = epoch * self._seconds / EPOCHS
            self._schedule(now + at, EpochReport(trial_id, epoch, 1000 * epoch, 10 * epoch, METRICS, at))
        outcome = TrialOutcome(trial_id, Status.COMPLETED, seconds=self._seconds, examples_per_second=1.0, loop="keras")
        self._schedule(now + self._seconds, outcome)

    def events(self, timeout_s: float) -> list[Event]:
        deadline = time.perf_counter() + timeout_s
        if self._ahead:
            time.sleep(max(0.0, min(self._ahead[0][0], deadline) - time.perf_counter()))
        now, found = time.perf_counter(), []
        while self._ahead and self._ahead[0][0] <= now:
            found.append(heapq.heappop(self._ahead)[2])
        return found

    def stop(self, trial_id: str) -> None:
        del trial_id

    def renew(self, device: str) -> None:
        del device

    def close(self) -> None:
        self._ahead.clear()

    def busy_and_rate(self) -> tuple[float, float]:
        """Return the share of time for which devices trained, and the trials started a second, once all were busy."""
        first, last = self.starts[len(self._devices) - 1], self.starts[-1]
        trained = sum(max(0.0, min(start + self._seconds, last) - max(start, first)) for start in self.starts)
        n_started = len(self.starts) - len(self._devices)
        return trained / (len(self._devices) * (last - first)), n_started / (last - first)

    def _schedule(self, at: float, event: Event) -> None:
        self._n_scheduled += 1
        heapq.heappush(self._ahead, (at, self._n_scheduled, event))


@contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    """Tell where the time of this thread goes, if that is wanted."""
    if not wanted:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    pstats.Stats(profile).sort_stats("cumulative").print_stats(30)


def search(directory: Path, asked: argparse.Namespace) -> bool:
    """Run a grid on simulated devices, print what was measured, and say whether the goals are met."""
    name, executor = f"many-{time.time_ns()}", SimulatedDevices(asked.devices, asked.seconds)
    made = scripted_search(directory, name, executor, trials=asked.trials, epochs=EPOCHS, postgres=asked.postgres)
    with made as (loop, tracker):
        began_cpu, began = time.process_time(), time.perf_counter()
        with profiled(asked.profile):
            loop.run()
    ended = time.perf_counter()
    tracker.close(patience_s=3600.0)
    cpu_s, whole_s = time.process_time() - began_cpu, time.perf_counter() - began
    busy, rate = executor.busy_and_rate()
    print(f"{asked.devices} devices, {asked.trials} trials of {asked.seconds:g} s, {asked.postgres or 'journal'}")
    print(f"busy {100 * busy:.1f} % (goal {100 * LEAST_BUSY:.0f}), {rate:.1f} trials a second")
    print(f"driver {1000 * cpu_s / asked.trials:.1f} ms of processor time a trial (goal {1000 * MOST_DRIVER_S:.0f})")
    print(f"the search took {ended - began:.0f} s; MLflow was written {began + whole_s - ended:.0f} s later")
    return busy >= LEAST_BUSY and cpu_s / asked.trials <= MOST_DRIVER_S


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--postgres", metavar="URL")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as directory:
        return 0 if search(Path(directory), asked) else 1


if __name__ == "__main__":
    sys.exit(main())
