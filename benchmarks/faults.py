"""Faults of a search, timed by what it is doing: does the same command complete it, with nothing lost or doubled?

    python benchmarks/faults.py --rounds 200 --disks 20

Each round runs `batch-size grid`, `bayes` or `tune` with made-up trainings in a fork of this process, and kills it: in
three rounds of four at one of its writes, to the journal or to MLflow (before it, within it, or after it), in the
others at any moment. A third of the searches is killed once more while it goes on. Then the same command runs to its
end, and its journal and its MLflow store are compared: every planned trial has ended exactly once, every run has all
epochs of its trial, none is still running, and no temporary folder is left.

With `--disks`, the searches run on a file system of a few MB that another file fills up just before a write; the search
must end with status 1 and one line, and be completed by the same command after that file has gone. That needs the right
to mount one.

Trainings are made up, so that a round takes a second; `benchmarks/killed_workers.py` kills real workers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # scripted searches
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import optuna
from mlflow import MlflowClient
from optuna.storages.journal import JournalFileBackend
from rich.console import Console
from rich.table import Table
from scripted_searches import KINDS, workers

import tuning.search.methods  # noqa: F401  (before the forks, since it takes seconds)
from tuning import cli, load_study
from tuning.commands import search as commands
from tuning.record import layout
from tuning.record.store import connect

_WORKLOAD = """
from search_spaces import BatchSize, Workload
from scripted_searches import made_up_data

workload = Workload("made_up", build=lambda hp: None, data=made_up_data, epochs=5, batch_size=BatchSize.of(16, 64, 256))
"""
_COMMANDS = {
    "grid": ["grid", "workload.py:workload", "--seeds", "2", "--quiet", "--prune"],
    "bayes": ["bayes", "workload.py:workload", "--trials", "6", "--seeds", "2", "--quiet", "--prune"],
    "tune": ["tune", "workload.py:workload", "--quiet"],
}
_WRITES = ("create_run", "log_batch", "log_text", "log_artifact", "set_terminated", "delete_run")
_MOMENTS = ("before", "within", "after")


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a search.

    Args:
        what: "kill" or "disk"; "none" to count its writes only.
        write: At which of its writes, from 0; None for at any moment.
        moment: Before, within or after that write.
        after_s: When, if at no write.
    """

    what: str = "none"
    write: int | None = None
    moment: str = "before"
    after_s: float = 0.0


def run(kind: str, room: Path, fault: Fault, scratch: Path) -> tuple[int, str]:
    """Run a search in a fork of this process; return its status, negative for a signal, and what it told."""
    child = os.fork()
    if child == 0:
        _become(kind, room, fault, scratch)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), (scratch / "told").read_text(errors="replace")


def _become(kind: str, room: Path, fault: Fault, scratch: Path) -> None:
    """Be the search, and nothing after it."""
    told = os.open(scratch / "told", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    os.chdir(room)
    tempfile.tempdir = str(scratch)
    commands.starting_workers = nullcontext  # nobody needs them
    commands.running_executor = _scripted
    writes = Writes(fault, scratch)
    writes.watch()
    if fault.what == "kill" and fault.write is None:
        threading.Timer(fault.after_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
    status = cli.main(_COMMANDS[kind])
    (scratch / "writes").write_text(str(writes.count))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextmanager
def _scripted(*_: Any, **__: Any) -> Iterator[Any]:
    yield workers()


class Writes:
    """Counts the writes of this process to the journal and to MLflow, and does harm at one of them."""

    def __init__(self, fault: Fault, scratch: Path) -> None:
        self.count = -1
        self._fault, self._scratch = fault, scratch

    def watch(self) -> None:
        """Stand between the search and what it writes with."""
        JournalFileBackend.append_logs = self._between(JournalFileBackend.append_logs, self._tear)
        for name in _WRITES:
            setattr(MlflowClient, name, self._between(getattr(MlflowClient, name)))

    def _between(self, write: Callable[..., Any], tear: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def written(*arguments: Any, **more: Any) -> Any:
            self.count += 1
            if self.count != self._fault.write:
                return write(*arguments, **more)
            if self._fault.what == "disk":
                self._fill(Path.cwd())
            elif self._fault.moment == "within" and tear is not None:
                tear(*arguments)
            elif self._fault.moment == "after":
                write(*arguments, **more)
            if self._fault.what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*arguments, **more)

        return written

    def _tear(self, backend: JournalFileBackend, logs: Any) -> None:
        """Write half of a record, with the journal's lock held, and die."""
        write = os.fsync

        def cut(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").resolve()
            os.truncate(path, path.stat().st_size - random.randrange(1, 60))
            write(descriptor)
            os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = cut
        _append(backend, logs)

    def _fill(self, room: Path) -> None:
        with suppress(OSError), (room / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))


_append = JournalFileBackend.append_logs


def in_fork(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a fork of this process returns, as JSON: MLflow's client would keep its store open in this one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, json.dumps(work(*arguments)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        result = json.loads(pipe.read())
    os.waitpid(child, 0)
    return result


def faults_of(kind: str, room: Path, scratch: Path, n_planned: int) -> Counter[str]:
    """Return what a completed search has lost or doubled, counted."""
    found: Counter[str] = Counter()
    trials = load_study(f"made_up-{kind}", room / "batch_size_studies").trials
    settled = [trial for trial in trials if trial.is_settled]
    keys = [trial.key for trial in settled]
    found["lost"] += max(0, n_planned - len(set(keys)))
    found["repeated"] += len(keys) - len(set(keys))
    client = connect(f"sqlite:///{room / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(f"made_up-{kind}")
    runs: dict[str, list[Any]] = {}
    for each in client.search_runs([experiment.experiment_id], max_results=10_000):
        found["running"] += each.info.status == "RUNNING"
        runs.setdefault(each.data.tags.get(layout.TRIAL_ID, ""), []).append(each)
    for trial in settled:
        mine = runs.get(trial.trial_id, [])
        found["without a run, or with two"] += len(mine) != 1
        for each in mine:
            history = client.get_metric_history(each.info.run_id, "val_accuracy")
            told = [(metric.step, metric.value) for metric in sorted(history, key=lambda metric: metric.step)]
            known = [(report.examples_seen, report.metrics["val_accuracy"]) for report in trial.reports]
            found["metrics missing"] += told != known
    found["temporary folders"] += len(list(scratch.glob("batch-size-scratch-*")))
    return found


def _count_trials(kind: str, room: Path) -> int:
    return len({trial.key for trial in load_study(f"made_up-{kind}", room / "batch_size_studies").trials})


class Laboratory:
    """Has searches run in rooms of their own, each with an empty MLflow store, whose making takes seconds."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._directory, self._random = directory, random.Random(seed)
        self._store = directory / "mlflow.db"
        subprocess.run([sys.executable, "-c", _MAKE_STORE, str(self._store)], check=True)
        self.n_writes: dict[str, int] = {}
        self.n_planned: dict[str, int] = {}
        self.seconds: dict[str, float] = {}

    def learn(self, kind: str) -> None:
        """Learn how many trials, writes and seconds a search has that nothing disturbs."""
        room, scratch = self.room("undisturbed")
        began = time.monotonic()
        status, told = run(kind, room, Fault(), scratch)
        assert status == 0, told
        self.seconds[kind] = time.monotonic() - began
        self.n_writes[kind] = int((scratch / "writes").read_text())
        self.n_planned[kind] = in_fork(_count_trials, kind, room)

    def room(self, name: str) -> tuple[Path, Path]:
        """Return an empty room with a store, and a folder for its temporary files."""
        room, scratch = self._directory / name, self._directory / f"{name}-scratch"
        for folder in (room, scratch):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        self.furnish(room)
        return room, scratch

    def furnish(self, room: Path) -> None:
        """Put the workload and the store into a room."""
        shutil.copy(self._store, room / "mlflow.db")
        (room / "workload.py").write_text(_WORKLOAD)

    def kill(self, kind: str) -> Fault:
        """Return a kill by chance: three of four at a write."""
        if self._random.random() < 0.75:
            write = self._random.randrange(self.n_writes[kind])
            return Fault("kill", write, self._random.choice(_MOMENTS))
        return Fault("kill", after_s=self._random.uniform(0.0, self.seconds[kind]))

    def round(self, kind: str) -> Counter[str]:
        """Kill a search once or twice, have it go on, and return what is wrong with what it became."""
        room, scratch = self.room("round")
        faults = [self.kill(kind) for _ in range(2 if self._random.random() < 1 / 3 else 1)]
        for fault in faults:
            run(kind, room, fault, scratch)
        status, told = run(kind, room, Fault(), scratch)
        return self._judged(kind, room, scratch, status, told, str(faults))

    def full_disk(self, kind: str, room: Path) -> Counter[str]:
        """Fill a disk in mid search, free it, have the search go on, and return what is wrong."""
        scratch = self._directory / "disk-scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self.furnish(room)
        fault = Fault("disk", self._random.randrange(self.n_writes[kind]))
        status, told = run(kind, room, fault, scratch)
        wrong = Counter({"not told in one line": int(status not in (0, 1) or "Traceback" in told)})
        (room / "filler").unlink(missing_ok=True)
        status, again = run(kind, room, Fault(), scratch)
        return wrong + self._judged(kind, room, scratch, status, again, f"{fault}: {told}")

    def _judged(self, kind: str, room: Path, scratch: Path, status: int, told: str, faults: str) -> Counter[str]:
        wrong = Counter({"not completed": 1})
        if status == 0:
            wrong = Counter(in_fork(faults_of, kind, room, scratch, self.n_planned[kind]))
        if any(wrong.values()):
            print(f"{kind}, {faults}: {dict(+wrong)}\n{told[-600:]}", file=sys.stderr)
        return +wrong


_MAKE_STORE = """
import sqlite3, sys
from tuning.record.store import connect
connect(f"sqlite:///{sys.argv[1]}", create=True)
sqlite3.connect(sys.argv[1]).execute("PRAGMA wal_checkpoint(TRUNCATE)")
"""


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """Yield the root of a file system of its own."""
    disk = directory / "disk"
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def main() -> None:
    """Print what was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--disks", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        laboratory = Laboratory(Path(directory), asked.seed)
        for kind in KINDS:
            laboratory.learn(kind)
        rounds = [(KINDS[i % 3], laboratory.round(KINDS[i % 3])) for i in range(asked.rounds)]
        disks = []
        for i in range(asked.disks):
            with small_disk(Path(directory), 12) as disk:
                disks.append((KINDS[i % 3], laboratory.full_disk(KINDS[i % 3], disk)))
    table = Table("fault", "search", "rounds", "right", "wrong")
    for name, results in (("killed", rounds), ("disk full", disks)):
        for kind in KINDS:
            mine = [wrong for each, wrong in results if each == kind]
            told = ", ".join(f"{what}: {count}" for what, count in sum(mine, Counter()).items())
            table.add_row(name, kind, str(len(mine)), str(sum(not wrong for wrong in mine)), told or "nothing")
    Console().print(table)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    main()
