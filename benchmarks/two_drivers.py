"""Two drivers of one study, from two directories: is the second refused, and can it take over from a dead one?

    python benchmarks/two_drivers.py --rounds 10 --postgres postgresql+psycopg://USER:PASSWORD@HOST/DATABASE

In each round a first driver searches with made-up trainings that take their time. A second one, started meanwhile, must
be refused in one line that tells who runs the study. Then the first is killed, and the same command must complete the
study, every planned trial once. In the last round of a shared storage the first driver is stopped instead, and goes on
after another has taken over: it must end at its next write. The journal is shared by its directory, the other storages
by their addresses.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from faults import Laboratory, in_fork
from rich.console import Console
from rich.table import Table
from scripted_searches import curve, probes

from tuning import cli, load_study
from tuning.commands import search as commands
from tuning.trial import Trial

_GAVE_WAY = ("taken the study over", "storage does not do what it is asked")  # the latter from within a transaction
_REFUSED, _COMMAND = 2, ["grid", "workload.py:workload", "--seeds", "3", "--quiet"]


@dataclass(frozen=True)
class Driver:
    """A search in a fork of this process.

    Args:
        process: Its number.
        told: Where its output goes.
    """

    process: int
    told: Path

    @classmethod
    def start(cls, room: Path, storage: str | None, study: str, *, seconds: float = 0.0) -> Driver:
        """Start one in a directory, whose trainings take so many seconds each."""
        told = room / f"told-{time.monotonic_ns()}"
        child = os.fork()
        if child == 0:
            descriptor = os.open(told, os.O_CREAT | os.O_WRONLY)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            os.chdir(room)
            commands.starting_workers = nullcontext  # nobody needs them
            commands.running_executor = _slow(seconds)
            where = [] if storage is None else ["--storage", storage]
            status = cli.main([*_COMMAND, "--study", study, *where])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        return cls(child, told)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.process, number)

    def end(self) -> tuple[int, str]:
        """Wait for its end, and return its status and what it told."""
        _, status = os.waitpid(self.process, 0)
        return os.waitstatus_to_exitcode(status), self.told.read_text()


def _slow(seconds: float) -> Any:
    from fakes import ScriptedExecutor

    def script(trial: Trial) -> list[float]:
        time.sleep(seconds)
        return curve(trial)

    @contextmanager
    def running(*_: Any, **__: Any) -> Iterator[Any]:
        yield ScriptedExecutor(script, probes=probes)

    return running


def round_of(first: Path, second: Path, storage: str | None, study: str) -> dict[str, bool]:
    """Return what was right: the refusal, and what the study became after the first driver had been killed."""
    running = Driver.start(first, storage, study, seconds=2.0)  # longer than its lease needs to be renewed
    _await_trial(first, storage, study)
    refused = Driver.start(second, storage, study).end()
    running.signal(signal.SIGKILL)
    running.end()
    began = time.monotonic()
    status, _ = Driver.start(second, storage, study).end()
    keys = in_fork(_keys, second, storage, study)
    return {
        "refused": refused[0] == _REFUSED and f"is run by process {running.process} on" in refused[1],
        "taken over": status == 0 and len(keys) == len(set(keys)) == 9,
        "within 30 s": time.monotonic() - began < 30,
    }


def stopped_round(first: Path, second: Path, storage: str, study: str) -> dict[str, bool]:
    """Return whether a driver that was stopped, and taken over from, ends at its next write."""
    running = Driver.start(first, storage, study, seconds=0.5)
    _await_trial(first, storage, study)
    running.signal(signal.SIGSTOP)
    status, _ = Driver.start(second, storage, study).end()
    running.signal(signal.SIGCONT)
    ended, told = running.end()
    keys = in_fork(_keys, second, storage, study)
    return {
        "taken over": status == 0 and len(keys) == len(set(keys)) == 9,
        "gave way": ended == 1 and any(words in told for words in _GAVE_WAY),
    }


def _await_trial(room: Path, storage: str | None, study: str) -> None:
    """Wait until the first driver has started a trial, as its MLflow store or journal tells."""
    journal = room / "batch_size_studies" / study / "study.journal"
    while not (_is_under_way(journal) if storage is None else in_fork(_has_trials, storage, study)):
        time.sleep(0.2)


def _is_under_way(journal: Path) -> bool:
    return journal.exists() and journal.read_text().count("\n") > 8


def _make(storage: str) -> None:
    optuna.storages.get_storage(storage)  # two processes that make the tables at once are in each other's way


def _has_trials(storage: str, study: str) -> bool:
    if study not in optuna.get_all_study_names(storage):
        return False
    return bool(optuna.load_study(study_name=study, storage=storage).trials)


def _keys(room: Path, storage: str | None, study: str) -> list[str]:
    found = load_study(study, room / "batch_size_studies", storage=storage)
    return [str(trial.key) for trial in found.trials if trial.is_settled]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--postgres", metavar="URL")
    asked = parser.parse_args()
    table = Table("storage", "rounds", "right")
    with tempfile.TemporaryDirectory() as directory:
        laboratory = Laboratory(Path(directory), 0)
        urls = {"journal": None, "sqlite": f"sqlite:///{directory}/study.db", "PostgreSQL": asked.postgres}
        for name, url in urls.items():
            if name == "PostgreSQL" and url is None:
                continue
            results = []
            if url is not None:
                in_fork(_make, url)
            for i in range(asked.rounds):
                first, second = laboratory.room(f"{name}-{i}")[0], laboratory.room(f"{name}-{i}-other")[0]
                results.append(round_of(first, first if url is None else second, url, f"{name}-{os.getpid()}-{i}"))
            if url is not None:
                first, second = laboratory.room(f"{name}-a")[0], laboratory.room(f"{name}-b")[0]
                results.append(stopped_round(first, second, url, f"{name}-{os.getpid()}-stopped"))
            kinds = dict.fromkeys(kind for result in results for kind in result)
            right = {kind: [result[kind] for result in results if kind in result] for kind in kinds}
            told = ", ".join(f"{kind} {sum(values)} of {len(values)}" for kind, values in right.items())
            table.add_row(name, str(len(results)), told)
    Console().print(table)


if __name__ == "__main__":
    main()
