"""A limit on a worker's resident memory, kept by a thread of the worker itself.

Linux limits address space, of which TensorFlow maps far more than it uses, and ends a process that meets that limit in
four different ways. Watching resident memory limits what is also measured, and ends the process in one known way.
"""

from __future__ import annotations

import os
import sys
import threading
import time

import psutil

EXIT_CODE = 86
"""With which a worker ends when it exceeds its limit; no Python or TensorFlow death has it."""

_POLL_S = 0.005


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
