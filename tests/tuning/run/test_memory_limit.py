"""The memory that training may use, from files of a made-up system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tuning.run.memory_limit import EXIT_CODE, MemoryLimit, find_memory_limit, parse_bytes

GIB = 2**30


def write(root: Path, name: str, text: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def limit(root: Path, asked: int | None = None, available: int = 16 * GIB, sharing: int = 1) -> MemoryLimit:
    return find_memory_limit(asked, sharing=sharing, root=root, available_bytes=available)


def test_without_control_groups_it_is_the_available_memory(tmp_path: Path) -> None:
    assert limit(tmp_path) == MemoryLimit(16 * GIB, "available memory")


def test_the_user_s_limit_holds_where_it_is_the_least(tmp_path: Path) -> None:
    found = limit(tmp_path, asked=3 * GIB)
    assert found == MemoryLimit(3 * GIB, "--memory-limit")
    assert found.is_exact
    assert limit(tmp_path, asked=32 * GIB).source == "available memory"


def test_version_2_leaves_the_limit_less_what_is_used_but_cache(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/box/inner")
    write(tmp_path, "sys/fs/cgroup/box/inner/memory.max", "max")
    write(tmp_path, "sys/fs/cgroup/box/memory.max", 4 * GIB)
    write(tmp_path, "sys/fs/cgroup/box/memory.current", 3 * GIB)
    write(tmp_path, "sys/fs/cgroup/box/memory.stat", f"anon 5\ninactive_file {2 * GIB}")
    assert limit(tmp_path) == MemoryLimit(3 * GIB, "control group")


def test_version_1_leaves_the_limit_less_what_is_used_but_cache(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/box\n0::/")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", 9223372036854771712)
    write(tmp_path, "sys/fs/cgroup/memory/memory.usage_in_bytes", 5 * GIB)
    write(tmp_path, "sys/fs/cgroup/memory/box/memory.limit_in_bytes", 4 * GIB)
    write(tmp_path, "sys/fs/cgroup/memory/box/memory.usage_in_bytes", 1 * GIB)
    assert limit(tmp_path) == MemoryLimit(3 * GIB, "control group")
    assert not limit(tmp_path).is_exact


def test_this_machine_has_a_limit() -> None:
    assert 0 < find_memory_limit().bytes <= psutil.virtual_memory().total


def test_workers_on_one_machine_share_what_it_has_but_not_what_the_user_allows_each(tmp_path: Path) -> None:
    assert limit(tmp_path, sharing=4) == MemoryLimit(4 * GIB, "available memory")
    assert limit(tmp_path, asked=3 * GIB, sharing=4) == MemoryLimit(3 * GIB, "--memory-limit")
    assert limit(tmp_path, asked=5 * GIB, sharing=4) == MemoryLimit(4 * GIB, "available memory")
    assert limit(tmp_path, available=2, sharing=4).bytes == 1


def test_a_group_that_is_full_leaves_next_to_nothing(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/box")
    write(tmp_path, "sys/fs/cgroup/box/memory.max", GIB)
    write(tmp_path, "sys/fs/cgroup/box/memory.current", 2 * GIB)
    assert limit(tmp_path) == MemoryLimit(1, "control group")


def test_a_process_that_exceeds_its_limit_ends_with_a_code_of_its_own() -> None:
    code = "from tuning.run.memory_limit import watch_memory; watch_memory(10**6); import time; time.sleep(60)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == EXIT_CODE
    assert "exceeds the limit of 1,000,000 bytes" in ended.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3GiB", 3 * GIB), ("3 gib", 3 * GIB), ("2G", 2 * GIB), ("500MB", 500_000_000), ("0.5k", 512), ("1000", 1000)],
)
def test_sizes_are_read_with_their_units(text: str, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "0", "3 apples", "3GiBs"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="A memory size must be a number with a unit"):
        parse_bytes(text)


def test_a_limit_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be positive; got 0 bytes"):
        limit(tmp_path, asked=0)
