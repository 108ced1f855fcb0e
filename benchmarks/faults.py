"""Faults of a search, timed by what it is doing: does the same command complete it, with nothing lost or doubled?

    python benchmarks/faults.py --rounds 200 --disks 20

Each round runs `batch-size grid`, `bayes` or `tune` with made-up trainings in a fork of this process, and does it harm:
in three rounds of four at one of its writes, to the journal or to MLflow (before it, within it, or after it), in the
others at any moment. Half of the faults kill the driver, the others a worker, both within a moment, or what stands
between the driver and a real MLflow server; a third of the searches meets a second fault while it goes on. Then the
same command runs to its end, and `pick` delivers what a slow server has not taken by then. The journal and the MLflow
store are compared: every planned trial has ended exactly once, every run has all epochs of its trial, none is still
running, and no temporary folder is left.

With `--disks`, the searches run on a file system of a few MB that another file fills up just before a write; the search
must end with status 1 and one line, and be completed by the same command after that file has gone. That needs the right
to mount one.

Trainings are made up, so that a round takes seconds, and a worker is lost as an executor tells it;
`benchmarks/killed_workers.py` kills real workers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # scripted searches
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import optuna
from injected_faults import MOMENTS, Fault, LosingExecutor, Writes, front_of
from rich.console import Console
from rich.table import Table
from scripted_searches import KINDS
from tracking_faults import free_port, mlflow_server

import tuning.search.methods  # noqa: F401  (before the forks, since it takes seconds)
from tuning import cli, load_study
from tuning.commands import search as commands
from tuning.record import layout
from tuning.record.store import connect
from tuning.search import answering

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
_SHARES = {"driver": 0.5, "worker": 0.15, "both": 0.15, "server": 0.2}


@dataclass(frozen=True)
class Room:
    """Where a search runs.

    Args:
        path: Its working directory.
        scratch: Its temporary files.
        store: The sqlite file of its MLflow store.
        server: Where that store is reached instead: the server's own port, and the one that the search knows.
        study: Its study.
    """

    path: Path
    scratch: Path
    store: Path
    study: str
    server: tuple[int, int] | None = None

    @property
    def options(self) -> list[str]:
        """Where the search records itself."""
        uri = [] if self.server is None else ["--tracking-uri", f"http://127.0.0.1:{self.server[1]}"]
        return ["--study", self.study, *uri]


def run(kind: str, room: Room, fault: Fault) -> tuple[int, str]:
    """Run a search in a fork of this process; return its status, negative for a signal, and what it told."""
    with ExitStack() as stack:
        server = None if room.server is None else stack.enter_context(front_of(*room.server))
        child = os.fork()
        if child == 0:
            _become(kind, room, fault, server)
        _, status = os.waitpid(child, 0)
    told = room.scratch / "told"
    return os.waitstatus_to_exitcode(status), told.read_text(errors="replace") if told.exists() else ""


def _become(kind: str, room: Room, fault: Fault, server: int | None) -> None:
    """Be the search, and nothing after it."""
    told = os.open(room.scratch / "told", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    os.chdir(room.path)
    tempfile.tempdir = str(room.scratch)
    executor = LosingExecutor()

    @contextmanager
    def running(*_: Any, **__: Any) -> Iterator[Any]:
        yield executor

    commands.starting_workers = nullcontext  # nobody needs them
    commands.running_executor = running
    answering.render_report = lambda _: "<p>"  # its figures take a second
    writes = Writes(fault, executor, server)
    writes.watch()
    status = cli.main([*_COMMANDS[kind], *room.options])
    (room.scratch / "writes").write_text(str(writes.count))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def pick(room: Room) -> None:
    """Deliver what a server that was away or slow is owed."""
    with front_of(*room.server or (0, 0)):
        child = os.fork()
        if child == 0:
            os.chdir(room.path)
            with (room.scratch / "picked").open("w") as told, redirect_stdout(told), redirect_stderr(told):
                status = cli.main(["pick", *room.options[1:]])
            os._exit(status)
        os.waitpid(child, 0)


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


def faults_of(room: Room, n_planned: int) -> Counter[str]:
    """Return what a completed search has lost or doubled, counted."""
    found: Counter[str] = Counter()
    trials = load_study(room.study, room.path / "batch_size_studies").trials
    settled = [trial for trial in trials if trial.is_settled]
    keys = [trial.key for trial in settled]
    found["lost"] += max(0, n_planned - len(set(keys)))
    found["not scored"] += sum(not trial.scored for trial in settled if trial.outcome.status != "pruned")
    found["repeated"] += len(keys) - len(set(keys))
    client = connect(f"sqlite:///{room.store}")
    experiment = client.get_experiment_by_name(room.study)
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
    found["temporary folders"] += len(list(room.scratch.glob("batch-size-scratch-*")))
    return found


def _count_trials(room: Room) -> int:
    return len({trial.key for trial in load_study(room.study, room.path / "batch_size_studies").trials})


class Laboratory:
    """Has searches run in rooms of their own, each with an empty MLflow store, whose making takes seconds.

    Args:
        directory: Where the rooms are.
        seed: Of what goes wrong.
        server: The port of an MLflow server on "server/mlflow.db" in the directory; None for no faults of it.
        kinds: What may go wrong; empty for everything.
    """

    def __init__(self, directory: Path, seed: int, server: int | None = None, kinds: Sequence[str] = ()) -> None:
        self._directory, self._random, self._server = directory, random.Random(seed), server
        self._kinds = {kind: share for kind, share in _SHARES.items() if kind in kinds or not kinds}
        self._store = directory / "mlflow.db"
        subprocess.run([sys.executable, "-c", _MAKE_STORE, str(self._store)], check=True)
        _use_mlflow(shutil.copy(self._store, directory / "used.db"))
        self._n_rooms = 0
        self.n_writes: dict[str, int] = {}
        self.n_planned: dict[str, int] = {}
        self.seconds: dict[str, float] = {}

    def learn(self, kind: str) -> None:
        """Learn how many trials, writes and seconds a search has that nothing disturbs."""
        room = self._laid_out(kind, *self.room("undisturbed"))
        began = time.monotonic()
        status, told = run(kind, room, Fault())
        assert status == 0, told
        self.seconds[kind] = time.monotonic() - began
        self.n_writes[kind] = int((room.scratch / "writes").read_text())
        self.n_planned[kind] = in_fork(_count_trials, room)

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

    def round(self, kind: str) -> tuple[str, Counter[str]]:
        """Do a search harm once or twice, have it go on, and return the kind of harm and what is wrong in the end."""
        what = self._random.choices(list(self._kinds), list(self._kinds.values()))[0]
        if what == "server" and self._server is None:
            what = "driver"
        room = self._laid_out(kind, *self.room("round"), at_server=what == "server")
        faults = [self._fault(what, kind) for _ in range(2 if self._random.random() < 1 / 3 else 1)]
        for fault in faults:
            run(kind, room, fault)
        status, told = run(kind, room, Fault())
        if what == "server" and status == 0:  # a search does not wait for ever for a slow one, but a pick does
            pick(room)
        return what, self._judged(kind, room, status, told, str(faults))

    def full_disk(self, kind: str, path: Path) -> Counter[str]:
        """Fill a disk in mid search, free it, have the search go on, and return what is wrong."""
        scratch = self._directory / "disk-scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self.furnish(path)
        room = self._laid_out(kind, path, scratch)
        fault = Fault("disk", self._random.randrange(self.n_writes[kind]))
        status, told = run(kind, room, fault)
        n_told = told.count("batch-size: The disk is full at ")  # none where only MLflow's last write has no room
        is_told = "Traceback" not in told and (status, n_told) in ((0, 0), (1, 1))
        wrong = Counter({"not told in one line": int(not is_told)})
        (path / "filler").unlink(missing_ok=True)
        status, again = run(kind, room, Fault())
        return wrong + self._judged(kind, room, status, again, f"{fault}: {told}")

    def _laid_out(self, kind: str, path: Path, scratch: Path, *, at_server: bool = False) -> Room:
        self._n_rooms += 1
        study = f"{kind}-{self._n_rooms}"
        if not at_server or self._server is None:
            return Room(path, scratch, path / "mlflow.db", study)
        return Room(path, scratch, self._directory / "server" / "mlflow.db", study, (self._server, free_port()))

    def _fault(self, what: str, kind: str) -> Fault:
        """Return a fault by chance: three of four at a write."""
        if self._random.random() < 0.75:
            write = self._random.randrange(self.n_writes[kind])
            return Fault(what, write, self._random.choice(MOMENTS))
        return Fault(what, after_s=self._random.uniform(0.0, self.seconds[kind]))

    def _judged(self, kind: str, room: Room, status: int, told: str, faults: str) -> Counter[str]:
        wrong = Counter({"not completed": 1})
        if status == 0:
            wrong = Counter(in_fork(faults_of, room, self.n_planned[kind]))
        if any(wrong.values()):
            print(f"{kind}, {faults}: {dict(+wrong)}\n{told[-600:]}", file=sys.stderr)
        return +wrong


def _use_mlflow(store: Path) -> None:
    """Load what MLflow loads at its first use, which each fork would do again."""
    client = connect(f"sqlite:///{store}")
    made = client.create_run(client.create_experiment("used"))
    client.log_metric(made.info.run_id, "used", 1.0)
    client.search_runs([made.info.experiment_id])


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
    parser.add_argument("--only", nargs="*", choices=[*_SHARES], default=(), help="what goes wrong (everything)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "server").mkdir()
        with mlflow_server(Path(directory) / "server") as port:
            laboratory = Laboratory(Path(directory), asked.seed, port, asked.only)
            for kind in KINDS:
                laboratory.learn(kind)
            results = []
            with suppress(KeyboardInterrupt):  # of what was tried until then
                results.extend(_rounds(laboratory, asked.rounds))
        for i in range(asked.disks):
            with small_disk(Path(directory), 12) as disk:
                results.append(("disk full", KINDS[i % 3], laboratory.full_disk(KINDS[i % 3], disk)))
    table = Table("fault", "search", "rounds", "right", "wrong")
    for what in dict.fromkeys(what for what, _, _ in results):
        for kind in KINDS:
            mine = [wrong for fault, each, wrong in results if (fault, each) == (what, kind)]
            told = ", ".join(f"{name}: {count}" for name, count in sum(mine, Counter()).items())
            table.add_row(what, kind, str(len(mine)), str(sum(not wrong for wrong in mine)), told or "nothing")
    Console().print(table)


def _rounds(laboratory: Laboratory, n_rounds: int) -> Iterator[tuple[str, str, Counter[str]]]:
    """Run the rounds, and say now and then how many there have been."""
    n_wrong = 0
    for i in range(n_rounds):
        what, wrong = laboratory.round(KINDS[i % 3])
        n_wrong += bool(wrong)
        if (i + 1) % 10 == 0:
            print(f"{i + 1} rounds, {n_wrong} of them wrong", file=sys.stderr, flush=True)
        yield what, KINDS[i % 3], wrong


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    main()
