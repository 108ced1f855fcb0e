"""Tasks that a check runs in a process of its own, beside the product's workers; each prints one line of JSON."""

from __future__ import annotations

import ctypes
import json
import sys
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
    cuda = ctypes.CDLL("libcuda.so.1")
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    cuda.cuInit(0)
    cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0)
    cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    return total.value - free.value


if __name__ == "__main__":
    tasks = {task.__name__: task for task in (count_gpus, peaks, limit, used)}
    print(json.dumps(tasks[sys.argv[1]]()))
