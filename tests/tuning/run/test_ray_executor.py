"""A Ray cluster of two nodes in this machine: the contract of executors, and nodes that go and come."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from contracts import ExecutorContract, ProcessContract, await_device, await_end, outcome_of, trial_of

from search_spaces import load_workload
from tuning.commands.training_elsewhere import train_elsewhere
from tuning.run import ray_executor as ray_executor_module
from tuning.run.executor import REHEARSAL, DeviceError, Executor, WorkerSetup
from tuning.run.ray_actor import versions
from tuning.run.ray_cluster import Cluster, Demand
from tuning.run.ray_executor import RayExecutor
from tuning.run.ray_starter import RayStarter
from tuning.run.scratch import PREFIX
from tuning.trial import Status, TrialOutcome

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray"),
    # Ray 2.55 leaves sockets, files and processes to the collector of garbage, and warns of its own defaults.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head without CPUs, where the driver is, and a node."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        cluster = Nodes(initialize_head=True, head_node_args={"num_cpus": 0})
        cluster.add_node(num_cpus=2)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def ray_executor(weights: Path | None = None, workers: int | None = 1, build: Any = None, **rest: Any) -> RayExecutor:
    workload = load_workload("digits")
    setup = WorkerSetup(build or workload.build, workload.load_data(), weights_directory=weights, **rest)
    limit = setup.memory_limit_bytes
    return RayExecutor(setup, RayStarter(Cluster(), Demand(), workers=workers, memory_limit_bytes=limit))


@pytest.fixture(scope="class")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="class")
def executor(nodes: Any, weights: Path) -> Iterator[RayExecutor]:
    with closing(ray_executor(weights)) as executor:
        yield executor


@pytest.fixture
def kill(executor: RayExecutor) -> Callable[[], None]:
    def kill() -> None:
        (worker,) = trainers()
        worker.kill()

    return kill


@pytest.fixture
def make_limited(nodes: Any) -> Callable[[Any, int], Executor]:
    return lambda build, limit: ray_executor(build=build, memory_limit_bytes=limit)


def trainers() -> list[psutil.Process]:
    """The processes of actors that train; the nodes are children of this process."""
    actors = [process for process in psutil.Process().children(recursive=True) if "DeviceActo" in process.name()]
    children = [child for actor in actors for child in actor.children()]
    return [child for child in children if "tuning.worker" in " ".join(child.cmdline())]


def copies_of_data() -> list[Path]:
    """The folders of data that actors share, whose names are those of data."""
    folders = Path(tempfile.gettempdir()).glob(f"{PREFIX}*/data")
    return [path for path in folders if "-" in path.parent.name.removeprefix(PREFIX)]


def refusal_of(executor: RayExecutor) -> str:
    """Why no device of it can work."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        try:
            executor.devices()
        except DeviceError as error:
            return str(error)
        executor.events(timeout_s=1.0)
    raise AssertionError("it was not refused")


class TestRayExecutor(ExecutorContract, ProcessContract):
    @pytest.fixture
    def make(self, nodes: Any) -> Callable[[], Executor]:
        return ray_executor

    def test_its_threads_are_the_cpus_that_ray_counts(self, executor: RayExecutor) -> None:
        device = await_device(executor)
        assert (device.cores, device.threads) == (1, 1)
        assert outcome_of(executor, trial_of("threads")).settings["intra_op_threads"] == 1

    def test_an_actor_that_is_killed_loses_its_trial_and_another_takes_its_place(self, executor: RayExecutor) -> None:
        name = await_device(executor).name
        executor.submit(trial_of("killed", 1, epochs=500), name)
        executor.events(timeout_s=30.0)
        (worker,) = trainers()
        worker.parent().kill()
        outcome = await_end(executor, "killed")[-1]
        assert isinstance(outcome, TrialOutcome)
        assert outcome.status is Status.LOST
        assert f"{name} was lost" in outcome.reason
        executor.renew(name)  # as a search does whose trial was overdue at this moment
        assert outcome_of(executor, trial_of("elsewhere")).status is Status.COMPLETED
        assert await_device(executor).name != name
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_two_devices_of_a_node_share_one_copy_of_the_data_which_goes_with_them(nodes: Any) -> None:
    with closing(ray_executor(workers=None)) as executor:
        while len(executor.devices()) < 2:
            assert executor.events(timeout_s=30.0) == []
        (copy,) = copies_of_data()
        first, second = executor.devices()
        assert first.memory.bytes < 0.6 * psutil.virtual_memory().total
        executor.submit(trial_of("one"), first.name)
        executor.submit(trial_of("two"), second.name)
        ended = await_end(executor, "one") + executor.events(timeout_s=0.0)
        if not any(event.trial_id == "two" and isinstance(event, TrialOutcome) for event in ended):
            await_end(executor, "two")
    assert not copy.exists()
    assert trainers() == []


def test_a_node_of_other_versions_is_told_in_one_line(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {**versions(), "keras": "2.0"}
    monkeypatch.setattr(ray_executor_module, "versions_here", lambda: here)
    with closing(ray_executor()) as executor:
        told = refusal_of(executor)
        assert told.startswith("A node must have the versions of the driver; ")
        assert told.count("(here ") == 1
        assert "keras" in told


def test_a_node_that_goes_loses_its_trial_and_one_that_joins_works(nodes: Any) -> None:
    (node,) = nodes.worker_nodes
    with closing(ray_executor()) as executor:
        executor.submit(trial_of("k", 1, epochs=500), await_device(executor).name)
        executor.events(timeout_s=30.0)
        nodes.remove_node(node, allow_graceful=False)
        outcome = await_end(executor, "k")[-1]
        assert isinstance(outcome, TrialOutcome)
        assert outcome.status is Status.LOST
        nodes.add_node(num_cpus=1)
        assert outcome_of(executor, trial_of("again")).status is Status.COMPLETED
    nodes.wait_for_nodes()  # until Ray, too, knows that one has gone


def test_a_node_trains_a_final_model(nodes: Any) -> None:
    workload, trial, told = load_workload("digits"), trial_of("final", epochs=2), []
    setup = WorkerSetup(workload.build, workload.load_data())
    trained = train_elsewhere(setup, trial, Cluster(), Demand(), told.append)
    assert "Epoch 2/2" in told
    assert len(trained.fitted.epochs) == 2
    assert trained.content[:2] == b"PK"  # a `.keras` file is an archive


def test_cards_of_a_node_share_a_training(nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REHEARSAL, "1")  # for the node, which counts cards that are not there
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    node = nodes.add_node(num_cpus=1, num_gpus=2)
    try:
        workload = load_workload("digits")
        setup = WorkerSetup(workload.build, workload.load_data())
        with closing(RayExecutor(setup, RayStarter(Cluster(), Demand(1, 2), workers=1))) as executor:
            assert await_device(executor).cards == 2
            outcome = outcome_of(executor, trial_of("shared", loop="keras"))
            assert (outcome.status, outcome.settings["replicas"]) == (Status.COMPLETED, 2)
        trained = train_elsewhere(setup, trial_of("final"), Cluster(), Demand(1, 2), lambda _: None)
        assert trained.content[:2] == b"PK"
    finally:
        nodes.remove_node(node)
