from __future__ import annotations

import pytest

from tuning.search.options import SearchOptions


@pytest.mark.parametrize("name", ["workers", "threads"])
def test_there_is_at_least_one_worker_with_at_least_one_thread(name: str) -> None:
    assert getattr(SearchOptions(**{name: 1}), name) == 1
    with pytest.raises(ValueError, match=f"{name} must be at least 1; got 0"):
        SearchOptions(**{name: 0})


def test_threads_without_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="in_process has none; got threads=2"):
        SearchOptions(in_process=True, threads=2)
