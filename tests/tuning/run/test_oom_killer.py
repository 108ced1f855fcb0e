"""The counter of the kernel's out-of-memory killer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuning.run.memory_limit import count_kills, may_have_killed


@pytest.mark.parametrize(
    ("text", "kills"), [("nr_free_pages 7\noom_kill 3\n", 3), ("nr_free_pages 7\n", None), ("no counters at all", None)]
)
def test_the_counter_is_read_where_the_kernel_has_it(tmp_path: Path, text: str, kills: int | None) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text(text)
    assert count_kills(tmp_path) == kills


def test_another_system_does_not_tell(tmp_path: Path) -> None:
    assert count_kills(tmp_path) is None


@pytest.mark.parametrize(("before", "now", "may"), [(2, 2, False), (2, 3, True), (None, 3, True), (2, None, True)])
def test_the_killer_is_cleared_only_by_an_unchanged_count(before: int | None, now: int | None, may: bool) -> None:
    assert may_have_killed(before, now) is may
