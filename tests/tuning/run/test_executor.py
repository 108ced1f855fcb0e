"""Executors without processes of their own: in this very process, and as if on another machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from contracts import ExecutorContract
from fakes import device
from fakes_executor import OTHER_MACHINE, OtherMachineExecutor

from search_spaces import load_workload
from tuning.loops.session import TrainingSession
from tuning.run.executor import Executor, InlineExecutor, WorkerSetup
from tuning.run.facts import this_process


@pytest.fixture(scope="class")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


class TestInlineExecutor(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, weights: Path) -> Executor:
        workload = load_workload("digits")
        session = TrainingSession(workload.build, workload.load_data(), weights_directory=weights)
        return InlineExecutor(session, this_process())

    @pytest.fixture
    def make(self) -> Callable[[], Executor]:
        return lambda: InlineExecutor(None, device("inline"))


class TestOtherMachineExecutor(ExecutorContract):
    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Executor:
        workload = load_workload("digits")
        setup = WorkerSetup(workload.build, workload.load_data(), weights_directory=weights)
        return OtherMachineExecutor(setup, tmp_path_factory.mktemp("far"))

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Executor]:
        workload = load_workload("digits")
        return lambda: OtherMachineExecutor(WorkerSetup(workload.build, workload.load_data()), tmp_path)

    def test_its_facts_are_not_this_machine_s(self, executor: Executor) -> None:
        (told,) = executor.devices()
        assert told == OTHER_MACHINE
        assert told.cores != this_process().cores
