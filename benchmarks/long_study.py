"""What the driver does for each trial as a study grows: its processor time, and how long a worker waits in between.

    python benchmarks/long_study.py [--trials 10000]

A grid of scripted trials of one epoch, with journal and MLflow as in a search, answered at once. Measured in the thread
that decides, of which MLflow's own is apart: processor time per trial, of the first tenth of them and of the last;
and what lies between a trial's end and the next one's start, which is how long its worker is idle.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import optuna

sys.path.insert(0, str(Path(__file__).parent))

from overhead import InstantExecutor, scripted_search

from tuning.messages import Event, Request
from tuning.trial import Trial, TrialOutcome

MOST_GROWTH, MOST_IDLE_S = 1.2, 0.010


class WatchedExecutor(InstantExecutor):
    """Notes when trials begin and end, by the clock and in processor time of the thread that asks."""

    def __init__(self) -> None:
        super().__init__()
        self.begun_cpu_s: list[float] = []
        self.idle_cpu_s: list[float] = []
        self.idle_s: list[float] = []
        self._ended: tuple[float, float] | None = None

    def submit(self, request: Trial | Request, device: str) -> None:
        now = (time.perf_counter(), time.thread_time())
        self.begun_cpu_s.append(now[1])
        if self._ended is not None:
            self.idle_s.append(now[0] - self._ended[0])
            self.idle_cpu_s.append(now[1] - self._ended[1])
        super().submit(request, device)

    def events(self, timeout_s: float) -> list[Event]:
        found = super().events(timeout_s)
        if isinstance(found[0], TrialOutcome):
            self._ended = (time.perf_counter(), time.thread_time())
        return found


def search(directory: Path, trials: int) -> WatchedExecutor:
    """Return the executor of a search of so many trials."""
    executor = WatchedExecutor()
    with scripted_search(directory, "long", executor, trials=trials) as (loop, tracker):
        loop.run()
    tracker.close(patience_s=0.0)  # what MLflow takes is measured by overhead.py
    return executor


def main() -> int:
    """Print what a trial costs at both ends of the study, and say whether both goals are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as directory:
        found = search(Path(directory), asked.trials)
    tenth = max(1, asked.trials // 10)
    each = [after - before for before, after in zip(found.begun_cpu_s, found.begun_cpu_s[1:], strict=False)]
    first, last = (statistics.fmean(part) for part in (each[:tenth], each[-tenth:]))
    growth = last / first
    print(f"driver per trial  {1000 * first:.2f} ms of the first tenth, {1000 * last:.2f} of the last: {growth:.2f}")
    idle, idle_cpu = statistics.median(found.idle_s), statistics.median(found.idle_cpu_s)
    print(f"a worker is idle  {1000 * idle:.1f} ms between trials (median; {1000 * idle_cpu:.1f} ms of processor time)")
    print(f"goals: at most {MOST_GROWTH} times as much, at most {1000 * MOST_IDLE_S:.0f} ms")
    return 0 if growth <= MOST_GROWTH and idle <= MOST_IDLE_S else 1


if __name__ == "__main__":
    sys.exit(main())
