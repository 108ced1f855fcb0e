from __future__ import annotations

import pytest
from contracts import ExecutorContract

from search_spaces import load_workload
from tuning.run.executor import Executor, InlineExecutor


@pytest.fixture(scope="module")
def executor() -> Executor:
    from tuning.loops.session import TrainingSession

    workload = load_workload("digits")
    return InlineExecutor(TrainingSession(workload.build, workload.load_data()))


class TestInlineExecutor(ExecutorContract):
    pass
