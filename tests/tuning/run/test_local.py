"""Real worker processes; one is shared by most tests, since each costs seconds to start."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contracts import ExecutorContract, ProcessContract, await_device, await_end, outcome_of, trial_of, wide_model

from search_spaces import load_workload
from tuning.messages import DescribeRequest, Throughput, ThroughputRequest
from tuning.run import local, process
from tuning.run.executor import DeviceError, Executor, WorkerSetup
from tuning.run.facts import cpu_model
from tuning.run.local import LocalExecutor
from tuning.trial import Status, TrialOutcome


def local_executor(build: Any = None, devices: tuple[str, ...] = ("cpu:0",), **changes: Any) -> LocalExecutor:
    workload = load_workload("digits")
    return LocalExecutor(WorkerSetup(build or workload.build, workload.load_data(), **changes), devices)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def executor(weights: Path) -> Iterator[LocalExecutor]:
    with closing(local_executor(weights_directory=weights)) as executor:
        yield executor


@pytest.fixture
def make() -> Callable[[], Executor]:
    return local_executor


@pytest.fixture
def kill(executor: LocalExecutor) -> Callable[[], None]:
    def kill() -> None:
        process_id = executor.process_id("cpu:0")
        assert process_id is not None
        os.kill(process_id, signal.SIGKILL)

    return kill


@pytest.fixture
def make_limited() -> Callable[[Any, int], Executor]:
    return lambda build, limit: local_executor(build, memory_limit_bytes=limit)


class TestLocalExecutor(ExecutorContract, ProcessContract):
    def test_the_worker_tells_of_this_machine(self, executor: LocalExecutor) -> None:
        device = await_device(executor)
        assert device.kind == cpu_model()
        assert device.node == os.uname().nodename
        assert device.cores == device.threads == len(os.sched_getaffinity(0))

    def test_a_worker_that_died_while_idle_is_replaced(self, executor: LocalExecutor, kill: Callable[[], None]) -> None:
        assert outcome_of(executor, trial_of("before")).status is Status.COMPLETED
        process_id = executor.process_id("cpu:0")
        kill()
        os.waitid(os.P_PID, process_id or 0, os.WEXITED | os.WNOWAIT)
        assert outcome_of(executor, trial_of("after")).status is Status.COMPLETED
        assert executor.process_id("cpu:0") != process_id


def test_two_workers_share_the_memory_and_the_threads_and_the_user_s_limit_is_for_each() -> None:
    with closing(local_executor()) as alone, closing(local_executor(devices=("cpu:0", "cpu:1"))) as shared:
        whole = await_device(alone).memory.bytes
        while len(shared.devices()) < 2:
            assert shared.events(timeout_s=30.0) == []
        assert [device.name for device in shared.devices()] == ["cpu:0", "cpu:1"]
        for device in shared.devices():
            assert 0.3 * whole < device.memory.bytes < 0.6 * whole
            assert device.threads == max(1, device.cores // 2)
    with closing(local_executor(devices=("cpu:0", "cpu:1"), memory_limit_bytes=10**8)) as limited:
        assert await_device(limited).memory.bytes == 10**8


def test_the_scratch_folder_holds_the_data_and_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    executor = local_executor()
    (scratch,) = tmp_path.iterdir()
    assert sorted(path.name for path in scratch.iterdir()) == ["data", "lock"]
    executor.close()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_cannot_start_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_START", "raise SystemExit('no interpreter today')")
    with closing(local_executor()) as executor:
        executor.events(timeout_s=30.0)
        with pytest.raises(DeviceError, match=r"^cpu:0 cannot be used. .* exit code 1. no interpreter today$"):
            executor.devices()
        with pytest.raises(ValueError, match="device must be one of none"):
            executor.submit(trial_of("t"), "cpu:0")


def test_a_gpu_that_tensorflow_does_not_see_is_refused_and_what_was_asked_is_lost() -> None:
    with closing(local_executor(devices=("gpu:0", "cpu:0"))) as executor:
        executor.submit(trial_of("t"), "gpu:0")
        outcome = await_end(executor, "t")[-1]
        assert isinstance(outcome, TrialOutcome)
        assert outcome.status is Status.LOST
        assert "sees no GPU" in outcome.reason
        assert [device.name for device in executor.devices()] == ["cpu:0"]


def test_threads_have_processes_of_their_own_one_of_which_works_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_IDLE_REQUESTS", 3)
    with closing(local_executor(threads=2)) as executor:
        every = executor.process_id("cpu:0")
        assert executor.process_id("cpu:0", threads=2) == every is not None
        executor.submit(ThroughputRequest("p", 64, chunks=1, chunk_seconds=0.01, threads=1), "cpu:0")
        with pytest.raises(ValueError, match="must be idle; it runs p"):
            executor.submit(trial_of("t"), "cpu:0")
        assert isinstance(await_end(executor, "p")[-1], Throughput)
        trained = {n: outcome_of(executor, trial_of(f"t{n}", threads=n)) for n in (None, 1)}
        assert {n: outcome.settings["intra_op_threads"] for n, outcome in trained.items()} == {None: 2, 1: 1}
        one = executor.process_id("cpu:0", threads=1)
        assert executor.process_id("cpu:0") == every != one
        for n in range(2):
            outcome_of(executor, trial_of(f"idle{n}"))
        assert executor.process_id("cpu:0", threads=1) == one
        outcome_of(executor, trial_of("idle2"))
        assert (executor.process_id("cpu:0"), executor.process_id("cpu:0", threads=1)) == (every, None)
        outcome_of(executor, trial_of("again", threads=1))
        executor.renew("cpu:0")
        assert executor.process_id("cpu:0") not in (None, every)
        assert executor.process_id("cpu:0", threads=1) is None
    assert executor.process_id("cpu:0") is None


def address_space_limit() -> Any:
    """A callback that lets the address space grow by 1 GB from the end of the first trial on."""
    import resource

    import keras
    import psutil

    class Limit(keras.callbacks.Callback):
        def on_train_end(self, logs: Any = None) -> None:
            limit = psutil.Process().memory_info().vms + 2**30
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))

    return Limit()


def test_a_size_above_the_address_space_limit_is_out_of_memory_and_ends_its_worker() -> None:
    with closing(local_executor(wide_model, callbacks=[address_space_limit()])) as executor:
        fits = outcome_of(executor, trial_of("small", 100, learning_rate=None, loop="keras"))
        assert fits.status is Status.COMPLETED, fits
        failed = outcome_of(executor, trial_of("large", 1437, learning_rate=None, loop="keras"))
        assert failed.status is Status.OUT_OF_MEMORY, failed
        assert executor.process_id("cpu:0") is None


def failure_by_rate() -> Any:
    """A callback that runs out of memory at learning rate 0.5, and fails at 0.25."""
    import keras

    class Failure(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            raise {0.5: MemoryError("none left"), 0.25: KeyError("a fault")}[float(self.model.optimizer.learning_rate)]

    return Failure()


def test_a_worker_is_replaced_after_running_out_of_memory_and_on_a_gpu_after_any_failure() -> None:
    with closing(local_executor(callbacks=[failure_by_rate()])) as executor:
        assert outcome_of(executor, trial_of("fault", learning_rate=0.25)).status is Status.FAILED
        assert executor.process_id("cpu:0") is not None
        assert outcome_of(executor, trial_of("memory", learning_rate=0.5)).status is Status.OUT_OF_MEMORY
        assert executor.process_id("cpu:0") is None
        executor._told["cpu:0"] = replace(executor.devices()[0], is_gpu=True)
        assert outcome_of(executor, trial_of("again", learning_rate=0.25)).status is Status.FAILED
        assert executor.process_id("cpu:0") is None


def build_that_raises(hp: Any) -> Any:
    raise RuntimeError("no model today")


def test_a_build_that_raises_is_told_with_its_log() -> None:
    with closing(local_executor(build_that_raises)) as executor:
        executor.submit(DescribeRequest("d", {}), "cpu:0")
        outcome = await_end(executor, "d")[-1]
    assert isinstance(outcome, TrialOutcome)
    assert outcome.status is Status.FAILED
    assert "no model today" in outcome.reason
    assert "Traceback" in outcome.log_tail


def test_a_worker_that_shows_no_sign_of_life_is_replaced_and_leaves_nothing(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        import subprocess
        import threading

        child = subprocess.Popen(["sleep", "600"])
        (tmp_path / "child").write_text(str(child.pid))
        threading.Event().wait()

    with closing(local_executor(build, silence_limit_s=8.0, memory_limit_bytes=2**40)) as executor:
        executor.submit(DescribeRequest("d", {}), "cpu:0")
        outcome = await_end(executor, "d")[-1]
        assert executor.process_id("cpu:0") is None
    assert isinstance(outcome, TrialOutcome)
    assert (outcome.status, "no sign of life for 8 s" in outcome.reason) == (Status.FAILED, True)
    assert not Path(f"/proc/{(tmp_path / 'child').read_text()}/exe").exists()


def test_what_is_registered_for_the_exit_of_a_worker_still_runs(tmp_path: Path) -> None:
    def build() -> Any:
        import atexit
        import threading
        import time

        atexit.register(lambda: (tmp_path / "exit").touch())
        threading.Thread(target=lambda: (time.sleep(0.5), (tmp_path / "thread").touch())).start()
        raise RuntimeError("this will do")

    executor = local_executor(build)
    executor.submit(DescribeRequest("d", {}), "cpu:0")
    await_end(executor, "d")
    executor.close()
    assert (tmp_path / "exit").exists()
    assert (tmp_path / "thread").exists()
