"""The processor that trains in this process, the CPU or a GPU: its memory, and the wait until it has finished."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import resource
import sys
from pathlib import Path
from typing import Protocol

import psutil
import tensorflow as tf

from tuning.loops.tensorflow_private import gpu_memory_limit


class Processor(Protocol):
    """What trains here. Everything that a loop does otherwise on a GPU asks this, and tests put a made-up one in."""

    @property
    def name(self) -> str:
        """TensorFlow's name of it, such as "GPU:0"."""

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU: with memory of its own, and calls that return before it has finished."""

    @property
    def threads(self) -> int | None:
        """Threads among which TensorFlow divides an operation; None of a GPU."""

    @property
    def compile_seconds_per_operation(self) -> float:
        """What XLA takes to compile a program, for each operation in its graph; a first guess."""

    @property
    def overhead_seconds_per_operation(self) -> float:
        """What TensorFlow's own executor takes to start an operation, which XLA saves; a first guess."""

    def free_bytes(self) -> int:
        """Return the bytes of its memory that are free."""

    def reset_peak(self) -> None:
        """Begin to watch its memory."""

    def peak_bytes(self) -> int | None:
        """Return the peak since `reset_peak`, everything included; None where nobody counts."""

    def wait(self) -> None:
        """Return when it has done all that it was given."""


@functools.cache
def this_processor() -> Processor:
    """Return the first GPU that TensorFlow sees, else the CPU."""
    return Gpu() if tf.config.list_logical_devices("GPU") else Cpu()


def counted_peak(processor: Processor) -> int:
    """Return the peak of a processor since `reset_peak`, for a probe.

    Raises:
        ValueError: If nobody counts it.
    """
    peak = processor.peak_bytes()
    if peak is None:
        raise ValueError(
            f"The memory of {processor.name} must be counted to probe it; TensorFlow's allocator keeps no statistics. "
            "Unset TF_GPU_ALLOCATOR, or search with probe=False."
        )
    return peak


_NOT_COUNTED = (ValueError, tf.errors.OpError)
"""What TensorFlow raises where an allocator, chosen by `TF_GPU_ALLOCATOR`, keeps no statistics."""


class Gpu:
    """The GPUs of this process: the first, or all where a training shares its batches among several.

    Their memory is what TensorFlow's allocators hold: a card would show the whole pool. That of several cards is the
    fullest one's; a card on which nothing trains is not it.
    """

    name = "GPU:0"
    is_gpu = True
    threads = None
    compile_seconds_per_operation = 5e-3
    overhead_seconds_per_operation = 5e-6

    def free_bytes(self) -> int:
        """Return what TensorFlow may still take of the fullest card."""
        with contextlib.suppress(*_NOT_COUNTED):
            return gpu_memory_limit() - self._fullest("current")
        return gpu_memory_limit()

    def reset_peak(self) -> None:
        """Let the allocators count anew from what they hold."""
        with contextlib.suppress(*_NOT_COUNTED):
            for name in self._names():
                tf.config.experimental.reset_memory_stats(name)

    def peak_bytes(self) -> int | None:
        """Return the highest peak of an allocator since it counts; None where they keep no statistics."""
        with contextlib.suppress(*_NOT_COUNTED):
            return self._fullest("peak")
        return None

    def _fullest(self, count: str) -> int:
        return max(int(tf.config.experimental.get_memory_info(name)[count]) for name in self._names())

    def _names(self) -> list[str]:
        return [f"GPU:{number}" for number in range(len(tf.config.list_logical_devices("GPU")))]

    def wait(self) -> None:
        """Wait for every stream of every card."""
        tf.test.experimental.sync_devices()


_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): reset the peak resident set size to the current one
_CGROUP_LIMIT, _CGROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


class Cpu:
    """The CPU. Its memory is what is resident of this process; each call returns when it has been computed."""

    name = "CPU:0"
    is_gpu = False
    # Measured on 2 CPU cores with 300 to 2300 operations: XLA compiles at 1.2 to 5.5 ms each, and executing one costs
    # TensorFlow's own executor 1.6 to 3.7 microseconds.
    compile_seconds_per_operation = 3e-3
    overhead_seconds_per_operation = 2e-6

    @property
    def threads(self) -> int:
        """As TensorFlow reads it: what `tf.config.threading` was told, else its variable, else every core."""
        told = tf.config.threading.get_intra_op_parallelism_threads()
        return told or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)

    def free_bytes(self) -> int:
        """Return the least of what the machine, the control group and the limit on address space leave."""
        return min(int(psutil.virtual_memory().available), _cgroup_free(), _address_space_free())

    def reset_peak(self) -> None:
        """Reset Linux's peak of the resident memory; where that cannot be, the peak is the process's own."""
        try:
            _CLEAR_REFS.write_text(_RESET_PEAK)
        except OSError:
            return

    def peak_bytes(self) -> int:
        """Return Linux's `VmHWM`; elsewhere the peak since the process started, an upper bound."""
        if _STATUS.exists():
            found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
            if found:
                return int(found[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak) * (1 if sys.platform == "darwin" else 1024)

    def wait(self) -> None:
        """Return at once: what was called has been computed."""


def _cgroup_free() -> int:
    try:
        return int(_CGROUP_LIMIT.read_text()) - int(_CGROUP_USED.read_text())
    except (OSError, ValueError):  # no cgroup, or no limit ("max")
        return _total()


def _address_space_free() -> int:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return _total()
    return max(0, limit - int(psutil.Process().memory_info().vms))


def _total() -> int:
    return int(psutil.virtual_memory().total)
