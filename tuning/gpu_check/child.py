"""Tasks that a check runs in a process of its own, beside the product's workers; each prints one line of JSON."""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any


def count_gpus() -> int:
    """Return how many GPUs TensorFlow sees here."""
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def peaks() -> dict[str, int]:
    """Return the peak with 1 GiB held for a moment, after that was freed, and what a reset leaves."""
    import tensorflow as tf

    from tuning.loops.processor import counted_peak, this_processor

    processor = this_processor()
    processor.reset_peak()
    before = counted_peak(processor)
    held: Any = tf.zeros((2**28,), tf.float32)
    processor.wait()
    del held
    with_it = counted_peak(processor)
    processor.reset_peak()
    return {"before": before, "with_it": with_it, "after_reset": counted_peak(processor)}


def limit() -> int:
    """Return the bytes that TensorFlow may take of its first GPU."""
    from tuning.loops.tensorflow_private import gpu_memory_limit

    return gpu_memory_limit()


def used() -> int:
    """Return the bytes of the first card that are in use, by the CUDA driver."""
    memory = _Memory()
    return memory.total_bytes - memory.free_bytes()


def tenant(folder: str, share: str, left_bytes: str) -> None:
    """Hold a share of the first card, print a line, and take nearly all for a while where the file `grow` appears.

    Args:
        folder: Where `grow` is looked for; `grown` is written there once the memory is held.
        share: Of the card's memory, or "all" for all but what is left.
        left_bytes: What is left of the card to others, where nearly all is taken.
    """
    memory = _Memory()
    most = memory.free_bytes() - int(left_bytes)
    memory.hold(most if share == "all" else int(float(share) * memory.total_bytes))
    print("holding", flush=True)
    while not Path(folder, "grow").exists():
        time.sleep(0.05)
    memory.hold(memory.held_bytes + memory.free_bytes() - int(left_bytes))
    Path(folder, "grown").touch()
    time.sleep(_CROWDED_S)
    memory.hold(int(0.25 * memory.total_bytes))
    time.sleep(3600)


_CROWDED_S = 8.0
_PIECE_BYTES = 2**28


class _Memory:
    """What this process holds of the first card's memory, by the CUDA driver."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        context = ctypes.c_void_p()
        self._cuda.cuInit(0)
        self._cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0)
        self._pieces: list[ctypes.c_uint64] = []

    def _told(self) -> tuple[int, int]:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def free_bytes(self) -> int:
        return self._told()[0]

    @property
    def total_bytes(self) -> int:
        return self._told()[1]

    @property
    def held_bytes(self) -> int:
        return len(self._pieces) * _PIECE_BYTES

    def hold(self, count: int) -> None:
        """Hold so many bytes, to a piece; less where the card has no more."""
        while self.held_bytes > count:
            self._cuda.cuMemFree_v2(self._pieces.pop())
        while self.held_bytes + _PIECE_BYTES <= count:
            piece = ctypes.c_uint64()
            if self._cuda.cuMemAlloc_v2(ctypes.byref(piece), ctypes.c_size_t(_PIECE_BYTES)):
                return
            self._pieces.append(piece)


if __name__ == "__main__":
    tasks = {task.__name__: task for task in (count_gpus, peaks, limit, used, tenant)}
    print(json.dumps(tasks[sys.argv[1]](*sys.argv[2:])))
