from __future__ import annotations

import os

import pytest

from tuning.loops.throughput import intra_op_threads


def test_the_threads_are_what_the_environment_says_or_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert intra_op_threads() == 3
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    assert intra_op_threads() == os.cpu_count()
