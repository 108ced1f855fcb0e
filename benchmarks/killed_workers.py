"""Real workers that are killed, hang, fork or print without end: is every trial scored, and is anything left?

    python benchmarks/killed_workers.py --trials 50

The first table: a grid of so many trainings of a small model, whose workers are killed with SIGKILL at random moments;
every trial must be scored in the end. A trial that is lost four times has failed, so none is killed more than thrice.
The second table: trainings that do what they should not, each with how long it took from its submission to a worker
that had started until it was ended (its limit on silence is 10 s, that on its time 60 s), and whether a process or a
file of it is left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from search_spaces import BatchSize, Data
from tuning import GridSearch
from tuning.run.executor import WorkerSetup
from tuning.run.local import LocalExecutor
from tuning.search.options import SearchArguments
from tuning.trial import MOST_LOSSES, Status, Trial, TrialOutcome

_MARK = "BATCH_SIZE_BENCHMARK"


def data() -> Data:
    """Return a few made-up examples."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8)).astype("float32")
    y = (x.sum(axis=1) > 0).astype("int32")
    return Data(x[:320], y[:320], x[320:], y[320:])


def build(hp: Any) -> Any:
    """Return a small model."""
    import keras

    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model


def killed(n_trials: int, seed: int) -> dict[str, int]:
    """Search while workers are killed, and count what became of the trials."""
    with tempfile.TemporaryDirectory() as directory:
        tuner = GridSearch(
            build,
            "val_accuracy",
            batch_size=BatchSize.of(8, 16, 32, 64, 128),
            seeds=n_trials // 5,
            directory=directory,
            project_name="killed",
            tracking_uri=f"sqlite:///{directory}/mlflow.db",
            loop="keras",
            probe=False,
            threads=1,
            quiet=True,
        )
        with _workers(data(), build) as executor, _killing(executor, tuner, n_trials, random.Random(seed)) as kills:
            tuner.run(SearchArguments(data(), epochs=20, verbose=False), executor)
        trials = list(tuner.oracle.records)
    settled = [trial for trial in trials if trial.is_settled]
    for trial in settled:
        if not trial.scored:
            print(f"{trial.trial_id} is {trial.status}: {trial.reason}")
    return {
        "planned": n_trials,
        "kills": kills.total(),
        "lost and run again": len(trials) - len(settled),
        "scored": sum(trial.scored for trial in settled),
        "scored twice": len(settled) - len({trial.key for trial in settled}),
    }


@contextmanager
def _workers(arrays: Data, built: Any, **limits: Any) -> Iterator[LocalExecutor]:
    os.environ[_MARK] = str(os.getpid())
    executor = LocalExecutor(WorkerSetup(built, arrays, threads=1, **limits), ("cpu:0",))
    try:
        yield executor
    finally:
        executor.close()


@contextmanager
def _killing(executor: LocalExecutor, tuner: Any, n_trials: int, chance: random.Random) -> Iterator[Counter[str]]:
    """Kill the worker at random moments while it trains, once for every second trial."""
    kills: Counter[str] = Counter()
    over = threading.Event()

    def kill() -> None:
        while not over.wait(chance.uniform(1.0, 20.0)) and kills.total() < n_trials // 2:
            process = executor.process_id("cpu:0", 1)
            records = tuner.oracle.study.records
            running = [trial for trial in list(records) if trial.outcome is None]
            if process is not None and running and records.losses(running[0]) < MOST_LOSSES:
                os.kill(process, signal.SIGKILL)
                kills["kills"] += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield kills
    finally:
        over.set()
        thread.join()


def hang(hp: Any) -> Any:
    """Wait for ever."""
    threading.Event().wait()


def loop_for_ever(hp: Any) -> Any:
    """Compute for ever."""
    while True:
        pass


def ignore_termination(hp: Any) -> Any:
    """Wait for ever, deaf."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threading.Event().wait()


def fork_and_exit(hp: Any) -> Any:
    """Leave a child that holds everything open, and end."""
    if os.fork() == 0:
        threading.Event().wait()
    os._exit(3)


def print_a_lot(hp: Any) -> Any:
    """Print a gigabyte, and hang."""
    for _ in range(1024):
        os.write(1, b"x" * 2**20)
    threading.Event().wait()


def ended(built: Callable[[Any], Any], limit_s: float) -> tuple[float, int, int, float, str]:
    """Return the seconds until it was ended, the processes and folders left, the MiB of its files, and the reason."""
    with tempfile.TemporaryDirectory() as directory:
        tempfile.tempdir = directory
        most = 0
        with _workers(data(), built, silence_limit_s=limit_s) as executor:
            while not executor.devices():
                executor.events(0.1)
            executor.submit(_trial(), "cpu:0")
            outcome, began, seconds = None, time.monotonic(), 0.0
            while outcome is None:
                for event in executor.events(0.1):
                    outcome = event if isinstance(event, TrialOutcome) else None
                most = max(most, sum(path.stat().st_size for path in Path(directory).rglob("*")))
                seconds = time.monotonic() - began
                if seconds > 60 and outcome is None:  # what `--trial-timeout` does
                    executor.renew("cpu:0")
                    outcome = TrialOutcome("t", Status.FAILED, reason="ended by the limit on a trial's time")
        tempfile.tempdir = None
        left = len(list(Path(directory).glob("batch-size-scratch-*")))
    _, alive = psutil.wait_procs(list(_marked()), timeout=5.0)  # the system may still be taking their memory back
    return seconds, len(alive), left, most / 2**20, outcome.reason


def _trial() -> Trial:
    from search_spaces.space import Setting
    from tuning.instructions import Budget

    return Trial(Setting(32, None), 0, "search", Budget(1), "t")


def _marked() -> Iterator[psutil.Process]:
    """Yield this benchmark's processes other than itself."""
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(_MARK) == str(os.getpid()):
                yield process
        except psutil.Error:
            continue


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("kills", "ends"))
    asked = parser.parse_args()
    if asked.only != "kills":
        print_ends()
    if asked.only == "ends":
        return
    counts = killed(asked.trials, asked.seed)
    table = Table(*counts)
    table.add_row(*map(str, counts.values()))
    Console().print(table)


def print_ends() -> None:
    """Print what becomes of trainings that do not end."""
    table = Table("what it does", "seconds until ended", "processes left", "folders left", "files (MiB)", "told")
    for built in (hang, ignore_termination, fork_and_exit, print_a_lot, loop_for_ever):
        seconds, processes, folders, mebibytes, reason = ended(built, limit_s=10.0)
        table.add_row(built.__name__, f"{seconds:.0f}", str(processes), str(folders), f"{mebibytes:.1f}", reason[:30])
    Console().print(table)


if __name__ == "__main__":
    main()
