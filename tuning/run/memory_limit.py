"""How much memory training may use, and a limit on a worker's resident memory, kept by a thread of the worker itself.

Linux limits address space, of which TensorFlow maps far more than it uses, and ends a process that meets that limit in
four different ways. Watching resident memory limits what is also measured, and ends the process in one known way.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

EXIT_CODE = 86
"""The exit code of a worker that exceeds its limit; no Python or TensorFlow death has it."""

_POLL_S = 0.005

_UNLIMITED = 2**60  # version 1 of control groups writes a number near 2**63 for "no limit"


@dataclass(frozen=True)
class MemoryLimit:
    """The memory that a training may use.

    Args:
        bytes: The number of bytes.
        source: Where the number comes from: "--memory-limit", "control group", "available memory" or "GPU".
    """

    bytes: int
    source: str

    @property
    def is_exact(self) -> bool:
        """Whether the limit holds for the very number that is measured, and no other program uses any of it."""
        return self.source == "--memory-limit"


def find_memory_limit(
    asked_bytes: int | None = None,
    *,
    sharing: int = 1,
    root: Path = Path("/"),
    available_bytes: int | None = None,
) -> MemoryLimit:
    """Return the memory that a training on this machine's CPU may use: what was asked for, or its share if less.

    Workers on one CPU share equally the least of what is available without swapping and what the process's control
    groups (versions 1 and 2) leave. What the user asks for is meant for each worker.

    Args:
        asked_bytes: The user's limit for a worker, None for none.
        sharing: The number of workers that share this machine's memory.
        root: The root of the file system.
        available_bytes: The available memory of the machine; None to ask the system.

    Raises:
        ValueError: If the user's limit is not positive.
    """
    if asked_bytes is not None and asked_bytes < 1:
        raise ValueError(f"A memory limit must be positive; got {asked_bytes} bytes. Give a size such as 3GiB.")
    available = psutil.virtual_memory().available if available_bytes is None else available_bytes
    shared = [MemoryLimit(left, "control group") for left in _left_by_control_groups(root)]
    shared.append(MemoryLimit(available, "available memory"))
    limits = [replace(limit, bytes=max(1, limit.bytes // sharing)) for limit in shared]
    if asked_bytes is not None:
        limits.insert(0, MemoryLimit(asked_bytes, "--memory-limit"))
    return min(limits, key=lambda limit: limit.bytes)


def parse_bytes(text: str) -> int:
    """Read a size such as "3GiB", "512 MiB", "2G" (powers of 1024), "2GB" (powers of 1000) or "1000000".

    Raises:
        ValueError: If it is not a positive number with such a unit.

    >>> parse_bytes("1.5GiB")
    1610612736
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b?)\s*", text, re.IGNORECASE)
    if match is None or not 0 < float(match[1]) < _UNLIMITED:
        raise ValueError(f"A memory size must be a number with a unit, such as 3GiB or 500MB; got {text!r}.")
    base = 1000 if match[3].lower() == "b" and match[2] else 1024
    return int(float(match[1]) * base ** " kmgt".index(match[2].lower() or " "))


def _left_by_control_groups(root: Path) -> Iterator[int]:
    """Yield the bytes that each control group above this process leaves, where it sets a limit.

    Page cache that can be dropped is counted as used by a group but is free for the asking.
    """
    for directory, limit_name, usage_name, cache_key in _control_groups(root):
        limit, usage = _number(directory / limit_name), _number(directory / usage_name)
        if limit is not None and usage is not None and limit < _UNLIMITED:
            yield max(1, limit - usage + _reclaimable(directory / "memory.stat", cache_key))


def _control_groups(root: Path) -> Iterator[tuple[Path, str, str, str]]:
    listing = root / "proc/self/cgroup"
    for line in listing.read_text().splitlines() if listing.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        own = mount / path.lstrip("/")
        yield from ((group, *names) for group in (own, *own.parents) if group.is_relative_to(mount))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such group in this container's view, or "max"
        return None


def _reclaimable(path: Path, key: str) -> int:
    try:
        entries = dict(line.split() for line in path.read_text().splitlines())
    except OSError:
        return 0
    return int(entries.get(key, 0))


def watch_memory(limit_bytes: int) -> None:
    """End this process with `EXIT_CODE` as soon as its resident memory exceeds `limit_bytes`."""
    process = psutil.Process()

    def watch() -> None:
        while (used := process.memory_info().rss) <= limit_bytes:
            time.sleep(_POLL_S)
        told = f"resident memory of {used:,} bytes exceeds the limit of {limit_bytes:,} bytes"
        print(told, file=sys.stderr, flush=True)
        os._exit(EXIT_CODE)

    threading.Thread(target=watch, daemon=True, name="memory limit").start()
