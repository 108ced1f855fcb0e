"""A search on a Ray cluster: equal to one on this machine? does it survive its faults? what does it cost?

    python benchmarks/cluster.py [--only equality faults overhead] [--rounds 10] [--postgres URL] [--restart COMMAND]

A cluster of a head without CPUs and two nodes of one CPU runs in this machine (`ray.cluster_utils.Cluster`), with an
MLflow server on 127.0.0.1; nothing here crosses a network, and no node has a GPU.

equality   `grid digits` of 3 seeds on both engines, one thread each: every score and epoch loss must be the same bits.
faults     searches of trials of about 2 s in which something dies; every planned trial must complete exactly once. The
           search must go on within 10 s, on a node that was added within 20 s, and leave nothing 10 s after its end.
           PostgreSQL is restarted by a command, such as "pg_ctl restart -D DATA -m fast", where one is given.
overhead   8 trials of 5 s or more on two devices of either engine, the median of three runs. Needs an idle machine.

The extras `ray` and `postgres` are needed.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil
from rich.console import Console
from rich.table import Table

from tuning import load_study
from tuning.trial import Status, Trial

sys.path.insert(0, str(Path(__file__).parent))

MARK = f"CLUSTER_BENCHMARK={uuid.uuid4().hex}"
"""A variable that all processes of this run inherit, since others on this machine may have a cluster, too."""

CALLBACKS = """
import time, keras

class Slow(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        time.sleep(%s)

callbacks = [Slow()]
"""


@dataclass
class Laboratory:
    """A directory, a storage, a server and a cluster.

    Args:
        room: The directory; each search has one of its own in it.
        nodes: `ray.cluster_utils.Cluster`.
        storage: Of the studies; None for journals.
        tracking: MLflow's server.
        restart: The command that restarts PostgreSQL; None where there is none.
        workers: The nodes that have CPUs, by now.
    """

    room: Path
    nodes: Any
    storage: str | None
    tracking: str
    restart: str | None = None
    workers: list[Any] = field(default_factory=list)

    def add_node(self) -> Any:
        """Have another node of one CPU."""
        self.workers.append(self.nodes.add_node(num_cpus=1))
        return self.workers[-1]

    def remove_node(self, node: Any) -> None:
        """End a node as if its power had gone."""
        self.workers.remove(node)
        self.nodes.remove_node(node, allow_graceful=False)

    def on_ray(self) -> list[str]:
        """Return the options of a search on the cluster."""
        return ["--engine", "ray", "--ray-address", self.nodes.address]

    def start(self, study: str, *options: str, seconds_per_epoch: float = 0.0, place: str = "") -> Driver:
        """Start `batch-size grid digits`, in a directory of its own."""
        directory = self.room / (place or study)
        directory.mkdir(exist_ok=True)
        command = ["grid", "digits", "--study", study, "--tracking-uri", self.tracking, "--quiet", *options]
        if seconds_per_epoch:
            (directory / "slow.py").write_text(CALLBACKS % seconds_per_epoch)
            command += ["--callbacks", "slow.py:callbacks"]
        if self.storage:
            command += ["--storage", self.storage]
        log = (directory / "log").open("ab")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        code = "from tuning.cli import program; program()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *command], cwd=directory, stdout=log, stderr=log, env=environment
        )
        return Driver(study, directory, process, self.storage)


@dataclass(frozen=True)
class Driver:
    """A search in a process of its own."""

    study: str
    directory: Path
    process: subprocess.Popen[bytes]
    storage: str | None

    def wait(self, limit_s: float = 300.0) -> None:
        """Wait for its end; raise what it told if that is no answer."""
        if self.process.wait(limit_s):
            raise RuntimeError(f"The search failed: {self.log[-2000:]}")

    @property
    def log(self) -> str:
        """What it has told."""
        return (self.directory / "log").read_text()

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial of its study, once it has ended."""
        return load_study(self.study, self.directory / "batch_size_studies", storage=self.storage).trials


@contextmanager
def laboratory(storage: str | None, restart: str | None) -> Iterator[Laboratory]:
    """Yield a laboratory with two nodes."""
    import ray
    from ray.cluster_utils import Cluster
    from tracking_faults import mlflow_server

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.update([MARK.split("=")])
    with ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(mlflow_server(room))
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        stack.callback(nodes.shutdown)
        found = Laboratory(room, nodes, storage, f"http://127.0.0.1:{port}", restart)
        found.add_node()
        found.add_node()
        stack.callback(ray.shutdown)
        yield found


def equality(lab: Laboratory, console: Console) -> bool:
    """Compare a search on the cluster with the same one on this machine."""
    options = ["--seeds", "3", "--loop", "device"]
    name = uuid.uuid4().hex[:8]
    local = lab.start(f"local-{name}", *options, "--threads", "1", "--workers", "1")
    local.wait()
    ray = lab.start(f"ray-{name}", *options, *lab.on_ray())
    ray.wait()
    here, there = by_plan(local.trials), by_plan(ray.trials)
    losses = [
        (len(a.reports), [r.metrics for r in a.reports] == [r.metrics for r in there[key].reports])
        for key, a in here.items()
    ]
    scores = sum(trial.score == there[key].score for key, trial in here.items())
    epochs = sum(count for count, same in losses if same)
    console.print(
        f"equality: {len(here)} and {len(there)} trials, {scores} equal scores, {epochs} of "
        f"{sum(count for count, _ in losses)} epochs with the same bits in every metric"
    )
    picks = [recommended(each) for each in (local, ray)]
    console.print(f"equality: the answers are {picks[0]} and {picks[1]}")
    return here.keys() == there.keys() and scores == len(here) and all(same for _, same in losses)


def by_plan(trials: tuple[Trial, ...]) -> dict[tuple[int, int], Trial]:
    """Return trials by batch size and seed."""
    return {(trial.batch_size, trial.seed): trial for trial in trials if trial.scored}


def recommended(driver: Driver) -> int:
    """Return the batch size of an answer."""
    study = load_study(driver.study, driver.directory / "batch_size_studies", storage=driver.storage)
    return study.recommend().batch_size


@dataclass(frozen=True)
class Fault:
    """What goes wrong in the midst of a search.

    Args:
        name: In words.
        happen: Has it go wrong.
        status: How a trial may end that it hits.
        limit_s: Within so many seconds a trial must start: on a device that was there, or of a node that was added.
        seeds: Trainings of each of four batch sizes.
        adds: Whether a device is added, so that one more trial must run at once than before.
    """

    name: str
    happen: Callable[[Laboratory, Driver], Happening | None]
    status: Status = Status.LOST
    limit_s: float = 10.0
    seeds: int = 4
    adds: bool = False


@dataclass(frozen=True)
class Happening:
    """When the search could go on again, if that was not at once, and which driver goes on, if it is another."""

    at: float
    driver: Driver | None = None


PLANNED = ("--batch-sizes", "32,64,128,256", "--epochs", "5")
SIZES = 4
SECONDS_PER_EPOCH = 0.3


def kill_training(_: Laboratory, __: Driver) -> None:
    """Kill a process that trains."""
    trainers()[0].kill()


def kill_actor(_: Laboratory, __: Driver) -> None:
    """Kill an actor that has one."""
    trainers()[0].parent().kill()


def crash_training(_: Laboratory, __: Driver) -> None:
    """Have a process that trains die by a fault of its own."""
    trainers()[0].send_signal(11)


def remove_node(lab: Laboratory, _: Driver) -> None:
    """Remove one node of two."""
    lab.remove_node(lab.workers[0])


def remove_all(lab: Laboratory, _: Driver) -> Happening:
    """Remove every node, and add one 5 s later."""
    for node in list(lab.workers):
        lab.remove_node(node)
    time.sleep(5.0)
    at = time.time()
    lab.add_node()
    return Happening(at)


def add_node(lab: Laboratory, _: Driver) -> None:
    """Add a node while all are busy."""
    lab.add_node()


def kill_driver(lab: Laboratory, driver: Driver) -> Happening:
    """Kill the driver, and start another in another directory, which needs a storage that both reach."""
    driver.process.kill()
    driver.process.wait()
    place = f"{driver.study}-elsewhere" if driver.storage else driver.study
    return Happening(time.time(), search(lab, driver.study, FAULTS["driver killed, resumed elsewhere"], place=place))


def second_driver(lab: Laboratory, driver: Driver) -> None:
    """Start a second driver of the same study, which is refused."""
    place = f"{driver.study}-second" if driver.storage else driver.study
    second = search(lab, driver.study, FAULTS["second driver"], place=place)
    assert second.process.wait(120) == 2, second.log
    assert "run by one process at a time" in second.log


def restart_postgres(lab: Laboratory, _: Driver) -> None:
    """Restart the server that holds the study."""
    assert lab.restart is not None
    subprocess.run(lab.restart, shell=True, check=True, stdout=subprocess.DEVNULL)


def search(lab: Laboratory, study: str, fault: Fault, place: str = "") -> Driver:
    """Start the search that a fault is to hit."""
    options = [*PLANNED, "--seeds", str(fault.seeds), *lab.on_ray()]
    return lab.start(study, *options, seconds_per_epoch=SECONDS_PER_EPOCH, place=place)


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("training killed", kill_training),
        Fault("training crashed", crash_training),
        Fault("actor killed", kill_actor),
        Fault("node removed", remove_node),
        Fault("last node removed, another added", remove_all, limit_s=20.0),
        Fault("node added", add_node, limit_s=20.0, seeds=10, adds=True),
        Fault("driver killed, resumed elsewhere", kill_driver, Status.INTERRUPTED, limit_s=20.0),
        Fault("second driver", second_driver, seeds=12),
        Fault("PostgreSQL restarted", restart_postgres),
    )
}


@dataclass(frozen=True)
class Outcome:
    """What came of one fault.

    Args:
        once: Whether every planned trial completed exactly once.
        hit: The trials that the fault ended.
        after_s: The seconds until the search went on.
        left: The processes that were left behind.
    """

    once: bool
    hit: int
    after_s: float
    left: int


def faults(lab: Laboratory, console: Console, rounds: int, only: list[str]) -> bool:
    """Print a table of what came of each fault."""
    table = Table("fault", "rounds", "completed once", "trials hit", "goes on after, s (most)", "limit", "left behind")
    good = True
    for fault in FAULTS.values():
        if (only and fault.name not in only) or (fault.happen is restart_postgres and not lab.restart):
            continue
        found = [one_round(lab, fault, number) for number in range(rounds)]
        slowest = max(each.after_s for each in found)
        good = good and all(each.once and not each.left for each in found) and slowest <= fault.limit_s
        table.add_row(
            fault.name,
            str(rounds),
            f"{sum(each.once for each in found)}",
            str(sum(each.hit for each in found)),
            f"{statistics.median(each.after_s for each in found):.1f} ({slowest:.1f})",
            f"{fault.limit_s:g}",
            str(sum(each.left for each in found)),
        )
    console.print(table)
    return good


def one_round(lab: Laboratory, fault: Fault, number: int) -> Outcome:
    """Have a search hit by a fault, and return what came of it."""
    while len(lab.workers) < 2:
        lab.add_node()
    while len(lab.workers) > 2:
        lab.remove_node(lab.workers[-1])
    driver = search(lab, f"f-{uuid.uuid4().hex[:8]}", fault)
    await_trainers(driver)
    at = time.time()
    happening = fault.happen(lab, driver) or Happening(at)
    driver = happening.driver or driver
    driver.wait()
    trials = driver.trials
    completed = Counter((trial.batch_size, trial.seed) for trial in trials if trial.scored)
    time.sleep(10.0)
    found = Outcome(
        once=len(completed) == SIZES * fault.seeds and set(completed.values()) == {1},
        hit=sum(trial.status is fault.status for trial in trials),
        after_s=goes_on(driver, happening.at, 2 if fault.adds else 0),
        left=len(trainers()) + len(actors()),
    )
    print(f"{fault.name} {number}: {found}", flush=True)
    return found


def await_trainers(driver: Driver) -> None:
    """Wait until both nodes train a second trial, or so."""
    deadline = time.monotonic() + 120.0
    while len(trainers()) < 2 or len(spans(driver)) < 3:
        assert driver.process.poll() is None, driver.log
        assert time.monotonic() < deadline, driver.log
        time.sleep(0.2)
    time.sleep(0.5)


def goes_on(driver: Driver, at: float, busy: int) -> float:
    """Return the seconds from a moment to the next start of a trial while at least so many others run."""
    found = spans(driver)
    begun = [
        start - at for start, _ in found if start > at and sum(begin < start < end for begin, end in found) >= busy
    ]
    return min(begun, default=float("inf"))


def spans(driver: Driver) -> list[tuple[float, float]]:
    """Return when each trial of a search started and ended, in seconds since the epoch; infinity for not yet."""
    journal = driver.directory / "batch_size_studies" / driver.study / "study.journal"
    if not driver.storage and not journal.exists():
        return []
    url = storage_at(driver.storage or str(journal))
    if driver.study not in optuna.get_all_study_names(url):
        return []
    return [
        (trial.datetime_start.timestamp(), trial.datetime_complete.timestamp() if trial.datetime_complete else math.inf)
        for trial in optuna.load_study(study_name=driver.study, storage=url).trials
        if trial.datetime_start
    ]


@functools.cache
def storage_at(place: str) -> optuna.storages.BaseStorage:
    """Return the storage at an address, or in a journal; one for all that ask, since each keeps a connection."""
    if "://" in place:
        return optuna.storages.RDBStorage(place, engine_kwargs={"pool_pre_ping": True})
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(place))


def actors() -> list[psutil.Process]:
    """Return the actors that there are of this cluster, also those whose node has gone."""
    found = [each for each in psutil.process_iter(["name"]) if "DeviceActo" in (each.info["name"] or "")]
    return [each for each in found if is_ours(each)]


def trainers() -> list[psutil.Process]:
    """Return the processes that train for actors."""
    found = []
    for actor in actors():
        with suppress(psutil.NoSuchProcess):
            found += [child for child in actor.children() if "tuning.worker" in " ".join(child.cmdline())]
    return found


def is_ours(actor: psutil.Process) -> bool:
    """Return whether an actor belongs to this laboratory, and not to another on this machine.

    Ray writes the title of an actor over what the system keeps of its variables, but not over its node's or trainer's.
    """
    with suppress(psutil.NoSuchProcess):
        return any(each is not None and is_marked(each) for each in (actor, actor.parent(), *actor.children()))
    return False


def is_marked(process: psutil.Process) -> bool:
    with suppress(OSError):  # it has ended
        return MARK in (Path("/proc") / str(process.pid) / "environ").read_text(errors="replace")
    return False


def overhead(lab: Laboratory, console: Console) -> bool:
    """Compare the seconds of 8 trials of 5 s on two devices of each engine, from the first start to the last end."""
    options = ["--batch-sizes", "32,64,128,256", "--seeds", "2", "--epochs", "10", "--loop", "device", "--workers", "2"]
    took: dict[str, list[tuple[float, float]]] = {"local": [], "ray": []}
    for engine, more in (("local", ["--threads", "1"]), ("ray", lab.on_ray())) * 3:
        began = time.time()
        driver = lab.start(f"o-{uuid.uuid4().hex[:8]}", *options, *more, seconds_per_epoch=0.5)
        driver.wait()
        took[engine].append(times_of(driver, began))
    medians = {engine: [statistics.median(each) for each in zip(*found, strict=True)] for engine, found in took.items()}
    for engine, (first, whole) in medians.items():
        console.print(f"overhead: {engine:5}  first trial after {first:.1f} s, all 8 within {whole:.2f} s of that")
    ratio = medians["ray"][1] / medians["local"][1]
    later = medians["ray"][0] - medians["local"][0]
    console.print(f"overhead: {100 * (ratio - 1):+.1f} % (goal +5), the first trial {later:.1f} s later (goal 15)")
    return ratio <= 1.05 and later <= 15.0


def times_of(driver: Driver, began: float) -> tuple[float, float]:
    """Return the seconds until the first trial started, and from there to the end of the last."""
    assert driver.storage is not None
    trials = optuna.load_study(study_name=driver.study, storage=driver.storage).trials
    start = min(trial.datetime_start.timestamp() for trial in trials if trial.datetime_start)
    return start - began, max(
        trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete
    ) - start


def main() -> int:
    """Print what was asked for, and say whether it is as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["equality", "faults"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--faults", nargs="+", default=[], help="names of faults; all without")
    parser.add_argument("--postgres", metavar="URL")
    parser.add_argument("--restart", metavar="COMMAND", help="restarts that PostgreSQL")
    asked = parser.parse_args()
    console, good = Console(width=140), []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with laboratory(asked.postgres, asked.restart) as lab:
        if "equality" in asked.only:
            good.append(equality(lab, console))
        if "faults" in asked.only:
            good.append(faults(lab, console, asked.rounds, asked.faults))
        if "overhead" in asked.only:
            good.append(overhead(lab, console))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
