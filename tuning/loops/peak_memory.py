"""The peak of memory during a trial: device memory on a GPU, resident memory of the process on a CPU."""

from __future__ import annotations

import os
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tuning.loops.fit_plan import MakePlan, training_to_measure
from tuning.loops.order import ExampleOrder
from tuning.messages import MemoryProbe, MemoryProbeRequest

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
        """Return the peak so far, in bytes."""
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


_BATCHES_AHEAD = 16  # more than an input pipeline ever holds ready
_LEAST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0


def probe_memory(make_plan: MakePlan, n_train: int, request: MemoryProbeRequest) -> MemoryProbe:
    """Train a few updates, so that the optimizer's slots exist, validate, and read the peak.

    The peak is taken from after the data were placed and the model built, so that what placing them needed for a
    moment does not count. The input pipeline is given time to fill before the last update: it may hold several
    batches, and how many it has made after so few updates is chance (measured: 7 % of the peak of a small CNN).

    Args:
        make_plan: Plans a training on an order of examples.
        n_train: Training examples.
        request: What to probe.

    Raises:
        Exception: Whatever building or training raises; see `status_of_error`.
    """
    size = request.batch_size
    order = ExampleOrder(min(n_train, _BATCHES_AHEAD * size), size, seed=0)
    epochs = -(-request.updates // order.least_updates)
    plan = make_plan(training_to_measure(request, epochs, loop=request.loop), order)
    meter = MemoryMeter()
    baseline = meter.peak_bytes()
    plan.model.fit(**plan.arguments, epochs=epochs, callbacks=[_FewUpdates(request.updates)], verbose=0)
    peak = max(baseline, meter.peak_bytes())  # Linux's own count may fall by a few pages
    return MemoryProbe(request.trial_id, size, peak, baseline)


class _FewUpdates(keras.callbacks.Callback):
    """Waits before the last update for about as long as the one before it took, and ends the training after it."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self._left = updates
        self._begin = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        took = time.perf_counter() - self._begin
        if self._left == 1:
            time.sleep(min(_LONGEST_WAIT_S, max(_LEAST_WAIT_S, took)))
        self._begin = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        self._left -= 1
        if self._left <= 0:
            self.model.stop_training = True


def intra_op_threads() -> int | None:
    """Threads among which TensorFlow divides an operation on the CPU; None where a GPU trains.

    As TensorFlow reads it: what `tf.config.threading` was told, else `TF_NUM_INTRAOP_THREADS`, else every core.
    """
    if tf.config.list_logical_devices("GPU"):
        return None
    told = tf.config.threading.get_intra_op_parallelism_threads()
    return told or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)
