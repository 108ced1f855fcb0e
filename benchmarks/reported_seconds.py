"""The seconds per update that a grid reports against a probe alone, and which are told as disturbed beside a busy loop.

    python benchmarks/reported_seconds.py               # three models, six batch sizes, about 4 minutes on 2 cores
    python benchmarks/reported_seconds.py cnn --hog     # a busy loop on every core while the grid runs

Told are, for each model and batch size, the seconds per update that the grid has kept, those that a worker of its own
measures afterwards with as many threads, their ratio, and the share of the machine that others had while the grid timed
it. With `--hog` every figure should be told as disturbed; without it none, on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from search_speed import BATCH_SIZES, MODELS, load_images

from search_spaces import BatchSize, Data
from tuning import GridSearch
from tuning.machine.machine import Machine
from tuning.machine.throughput import KERAS
from tuning.machine.user_seconds import note_on_disturbance, user_threads
from tuning.messages import Throughput, ThroughputRequest
from tuning.run.asking import ask, first_device
from tuning.run.executor import WorkerSetup
from tuning.run.local import LocalExecutor

EXAMPLES = 8192
_BUSY = "while True: pass"


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """Run busy loops meanwhile."""
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def searched(model: str, data: Data) -> tuple[Machine, dict[int, Any]]:
    """Return what a grid has measured of the machine, and the threads of its trials by batch size."""
    tuner = GridSearch(MODELS[model], batch_size=BatchSize.of(*BATCH_SIZES), seeds=1, tracker=None, keep_models=0)
    tuner.search(data.x_train, data.y_train, validation_data=(data.x_val, data.y_val), epochs=1, verbose=0)
    outcomes = {trial.batch_size: trial.outcome for trial in tuner.oracle.records if trial.outcome is not None}
    threads = {size: outcome.settings.get("intra_op_threads") for size, outcome in outcomes.items()}
    return tuner.oracle.study.records.machine, threads


def alone(model: str, data: Data, machine: Machine, threads: dict[int, Any]) -> dict[int, float]:
    """Return the seconds per update that a worker of its own measures."""
    found = {}
    with closing(LocalExecutor(WorkerSetup(MODELS[model], data), ("cpu:0",))) as executor:
        cores = first_device(executor).cores
        for size, trained_with in threads.items():
            wished = user_threads(machine, size, trained_with, cores)
            request = ThroughputRequest(f"alone-{size}", size, loop=KERAS, threads=wished, times_input=False)
            answer = ask(executor, request)
            assert isinstance(answer, Throughput), answer
            found[size] = answer.seconds_per_update
    return found


def report(model: str, *, with_hogs: bool) -> None:
    """Print the table of one model."""
    data = Data(*load_images(EXAMPLES))
    with hogs(os.cpu_count() or 1 if with_hogs else 0):
        machine, threads = searched(model, data)
    rows = {row.batch_size: row.throughput for row in machine.throughput.rows if row.series == machine.user_series}
    probed = {} if with_hogs else alone(model, data, machine, threads)
    print(f"\n{model}: {sum(row.is_disturbed for row in rows.values())} of {len(rows)} figures told as disturbed")
    for size, row in sorted(rows.items()):
        told = f"{size:6d}  told {1e3 * row.seconds_per_update:8.3f} ms  others {row.others_share or 0.0:4.0%}"
        if size in probed:
            told += f"  alone {1e3 * probed[size]:8.3f} ms  ratio {row.seconds_per_update / probed[size]:.3f}"
        print(told)
    print(note_on_disturbance(machine, BATCH_SIZES) or "(no note)", flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL", help="mlp, cnn, lstm")
    parser.add_argument("--hog", action="store_true", help="keep every core busy while the grid runs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for model in asked.models:
            report(model, with_hogs=asked.hog)


if __name__ == "__main__":
    main()
