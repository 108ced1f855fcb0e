"""The peak of memory during a trial: device memory on a GPU, resident memory of the process on a CPU."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import tensorflow as tf

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): reset the peak resident set size to the current one


class MemoryMeter:
    """Measures the peak between its creation and each reading.

    GPU: the peak of TensorFlow's allocator on `GPU:0`, which counts what the tensors need; NVML would show the pool.
    Linux CPU: `VmHWM` after its reset. Elsewhere: the peak since the process started, an upper bound.
    """

    def __init__(self) -> None:
        self._on_gpu = bool(tf.config.list_logical_devices("GPU"))
        if self._on_gpu:
            tf.config.experimental.reset_memory_stats("GPU:0")
        else:
            _reset_resident_peak()

    def peak_bytes(self) -> int:
        """The peak so far, in bytes."""
        if self._on_gpu:
            return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
        return _resident_peak_bytes()


def _reset_resident_peak() -> None:
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return  # no Linux, or a container that forbids it: the reading is then the process's own peak


def _resident_peak_bytes() -> int:
    if _STATUS.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)
