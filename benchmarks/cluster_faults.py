"""The faults of `cluster.py`: what goes wrong in the midst of a search on a cluster, and what came of it."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tuning.trial import Status

sys.path.insert(0, str(Path(__file__).parent))

from cluster_laboratory import Driver, Laboratory, actors, spans, trainers


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
        Fault("driver killed, resumed elsewhere", kill_driver, Status.INTERRUPTED),
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
