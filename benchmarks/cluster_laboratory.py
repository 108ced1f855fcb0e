"""A laboratory for `cluster.py`: a Ray cluster within this machine, an MLflow server, and the searches on them."""

from __future__ import annotations

import functools
import math
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import psutil

from tuning import load_study
from tuning.trial import Trial

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
