"""Real worker processes; one is shared by most tests, since each costs seconds to start."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contracts import ExecutorContract, await_end

from search_spaces import load_workload
from tuning.messages import DescribeRequest, Throughput, ThroughputRequest
from tuning.run.executor import Executor, WorkerSetup
from tuning.run.local import LocalExecutor
from tuning.trial import EpochReport, Status, TrialOutcome, TrialRequest
from tuning.worker import write_data


def local_executor(directory: Path, build: Any = None, **changes: Any) -> LocalExecutor:
    workload = load_workload("digits")
    write_data(workload.load_data(), directory / "data")
    setup = WorkerSetup(build or workload.build, directory / "data", directory / "logs", **changes)
    return LocalExecutor(setup, ("cpu:0",))


def outcome_of(executor: Executor, request: TrialRequest) -> TrialOutcome:
    executor.submit(request, "cpu:0")
    found = await_end(executor, request.trial_id)[-1]
    assert isinstance(found, TrialOutcome)
    return found


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    executor = local_executor(tmp_path_factory.mktemp("local"))
    yield executor
    executor.shutdown()


class TestLocalExecutor(ExecutorContract):
    def test_a_busy_device_is_refused(self, executor: Executor) -> None:
        executor.submit(TrialRequest("b", batch_size=64, seed=0, epochs=1), "cpu:0")
        with pytest.raises(ValueError, match="must be idle; it runs b"):
            executor.submit(TrialRequest("c", batch_size=64, seed=0, epochs=1), "cpu:0")
        await_end(executor, "b")

    def test_a_trial_stops_when_asked(self, executor: Executor) -> None:
        executor.submit(TrialRequest("s", batch_size=8, seed=0, epochs=500), "cpu:0")
        while not any(isinstance(event, EpochReport) for event in executor.events(timeout_s=10.0)):
            pass
        executor.stop("s")
        outcome = await_end(executor, "s")[-1]
        assert isinstance(outcome, TrialOutcome)
        assert outcome.status is Status.PRUNED

    def test_a_killed_worker_is_one_trial_s_outcome_and_is_replaced(self, executor: LocalExecutor) -> None:
        executor.submit(TrialRequest("k", batch_size=1, seed=0, epochs=500), "cpu:0")
        executor.events(timeout_s=30.0)
        process_id = executor.process_id("cpu:0")
        assert process_id is not None
        os.kill(process_id, signal.SIGKILL)
        outcome = await_end(executor, "k")[-1]
        assert isinstance(outcome, TrialOutcome)
        assert outcome.status in (Status.OUT_OF_MEMORY, Status.FAILED)
        assert "9" in outcome.reason or "kill" in outcome.reason.lower()
        assert outcome_of(executor, TrialRequest("next", batch_size=64, seed=0, epochs=1)).status is Status.COMPLETED
        assert executor.process_id("cpu:0") != process_id


def test_threads_have_processes_of_their_own_one_of_which_works_at_a_time(tmp_path: Path) -> None:
    executor = local_executor(tmp_path, threads=2)
    try:
        executor.provide({None, 1})
        every, one = executor.process_id("cpu:0"), executor.process_id("cpu:0", threads=1)
        assert executor.process_id("cpu:0", threads=2) == every != one
        executor.submit(ThroughputRequest("p", 64, chunks=1, chunk_seconds=0.01, threads=1), "cpu:0")
        with pytest.raises(ValueError, match="must be idle; it runs p"):
            executor.submit(TrialRequest("t", batch_size=64, seed=0, epochs=1), "cpu:0")
        assert isinstance(await_end(executor, "p")[-1], Throughput)
        trained = {n: outcome_of(executor, TrialRequest(f"t{n}", 64, 0, epochs=1, threads=n)) for n in (None, 1)}
        assert {n: outcome.settings["intra_op_threads"] for n, outcome in trained.items()} == {None: 2, 1: 1}
        assert (executor.process_id("cpu:0"), executor.process_id("cpu:0", threads=1)) == (every, one)
        executor.provide({None})
        assert (executor.process_id("cpu:0"), executor.process_id("cpu:0", threads=1)) == (every, None)
        executor.submit(TrialRequest("killed", 64, 0, epochs=500, threads=1), "cpu:0")
        again = executor.process_id("cpu:0", threads=1)
        assert again is not None
        os.kill(again, signal.SIGKILL)
        assert isinstance(await_end(executor, "killed")[-1], TrialOutcome)
        assert (executor.process_id("cpu:0"), executor.process_id("cpu:0", threads=1)) == (every, None)
    finally:
        executor.shutdown()
    assert executor.process_id("cpu:0") is None


def wide_model() -> Any:
    """Needs about 4 MB of activations per example."""
    import keras

    layers = [keras.Input((64,)), keras.layers.Dense(500_000, activation="relu"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(1e-9), "mse")
    return model


def test_a_size_above_the_memory_limit_is_out_of_memory_and_a_smaller_one_trains(tmp_path: Path) -> None:
    executor = local_executor(tmp_path, wide_model, memory_limit_bytes=3 * 2**30)
    try:
        fits = outcome_of(executor, TrialRequest("small", batch_size=100, seed=0, epochs=1, loop="keras"))
        assert fits.status is Status.COMPLETED, fits
        lost = outcome_of(executor, TrialRequest("large", batch_size=1437, seed=0, epochs=1, loop="keras"))
        assert lost.status is Status.OUT_OF_MEMORY, lost
        assert "exceeds the limit" in lost.reason
    finally:
        executor.shutdown()


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


def test_a_size_above_the_address_space_limit_is_out_of_memory(tmp_path: Path) -> None:
    executor = local_executor(tmp_path, wide_model, callbacks=[address_space_limit()])
    try:
        fits = outcome_of(executor, TrialRequest("small", batch_size=16, seed=0, epochs=1, loop="keras"))
        assert fits.status is Status.COMPLETED, fits
        lost = outcome_of(executor, TrialRequest("large", batch_size=1437, seed=0, epochs=1, loop="keras"))
        assert lost.status is Status.OUT_OF_MEMORY, lost
    finally:
        executor.shutdown()


def build_that_raises(hp: Any) -> Any:
    raise RuntimeError("no model today")


def test_a_build_that_raises_is_told_with_its_log(tmp_path: Path) -> None:
    executor = local_executor(tmp_path, build_that_raises)
    try:
        executor.submit(DescribeRequest("d", {}), "cpu:0")
        outcome = await_end(executor, "d")[-1]
    finally:
        executor.shutdown()
    assert isinstance(outcome, TrialOutcome)
    assert outcome.status is Status.FAILED
    assert "no model today" in outcome.reason
    assert "Traceback" in outcome.log_tail


def test_what_is_registered_for_the_exit_of_a_worker_still_runs(tmp_path: Path) -> None:
    def build() -> Any:
        import atexit
        import threading
        import time

        atexit.register(lambda: (tmp_path / "exit").touch())
        threading.Thread(target=lambda: (time.sleep(0.5), (tmp_path / "thread").touch())).start()
        raise RuntimeError("this will do")

    executor = local_executor(tmp_path, build)
    executor.submit(DescribeRequest("d", {}), "cpu:0")
    await_end(executor, "d")
    executor.shutdown()
    assert (tmp_path / "exit").exists()
    assert (tmp_path / "thread").exists()
