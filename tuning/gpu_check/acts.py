"""Callbacks that do in a worker what a check needs there: harm, or watch."""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

SEED = 1
"""The seed of the trial that is harmed."""


_WRITES_NOWHERE = b"""
.version 7.0
.target sm_70
.address_size 64
.visible .entry harm()
{
    .reg .u64 %nowhere;
    .reg .u32 %number;
    mov.u64 %nowhere, 57005;
    mov.u32 %number, 1;
    st.global.u32 [%nowhere], %number;
    ret;
}
"""


class Poison(keras.callbacks.Callback):
    """Has the card write to an address that is nobody's, in the context that TensorFlow trains in."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        if self.params["seed"] != SEED:
            return
        cuda = ctypes.CDLL("libcuda.so.1")
        context, module, function = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        codes = [
            cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
            cuda.cuCtxSetCurrent(context),
            cuda.cuModuleLoadData(ctypes.byref(module), _WRITES_NOWHERE),
            cuda.cuModuleGetFunction(ctypes.byref(function), module, b"harm"),
            cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, None, None, None),
            cuda.cuCtxSynchronize(),
        ]
        print(f"poisoned: {codes}", file=sys.stderr, flush=True)


class Abort(keras.callbacks.Callback):
    """Ends the process as a failed check of TensorFlow's does."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        if self.params["seed"] == SEED:
            told = "2026-01-01 00:00:00.000000: F check.cc:1] Check failed: made by the check"
            print(told, file=sys.stderr, flush=True)
            os.abort()


class CompileBeside(keras.callbacks.Callback):
    """Has XLA compile, in another thread, until the training of one seed has ended, and writes how often it did.

    Args:
        path: The file of the share of the epochs at whose end XLA compiled.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._is_over: threading.Event | None = None
        self._is_compiling = False
        self._seen: list[bool] = []

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        if self.params["seed"] == SEED:
            self._is_over = threading.Event()
            threading.Thread(target=self._compile, args=(self._is_over,), daemon=True).start()

    def _compile(self, is_over: threading.Event) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            self._is_compiling = True
            _compile_chain(200 + number)
            self._is_compiling = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        self._seen.append(self._is_compiling)

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        if self._is_over is not None:
            self._is_over.set()
            Path(self._path).write_text(json.dumps(sum(self._seen) / len(self._seen)))


def _compile_chain(length: int) -> None:
    """Have XLA compile a chain of operations that no earlier call compiled."""

    def chain(x: Any) -> Any:
        for step in range(length):
            x = tf.sin(x * float(step + 1)) + tf.reduce_sum(x)
        return x

    tf.function(chain, jit_compile=True)(tf.zeros((1024,)))


def as_float(x: Any, y: Any) -> Any:
    """Return an image of bytes as numbers below one; the quotient by a power of two is the same anywhere."""
    return tf.cast(x, tf.float32) / 256, y


class CountBusBytes(keras.callbacks.Callback):
    """Writes how many bytes the second epoch's training copied to the card and back, by TensorFlow's profiler.

    Args:
        path: The file of the bytes by direction.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path, self._folder = path, f"{path}-profile"
        self._is_watching = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        if epoch == 1:
            tf.test.experimental.sync_devices()
            tf.profiler.experimental.start(self._folder)
            self._is_watching = True

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        if self._is_watching:
            tf.test.experimental.sync_devices()
            tf.profiler.experimental.stop()
            self._is_watching = False
            traces = [path.read_bytes() for path in Path(self._folder).rglob("*.xplane.pb")]
            Path(self._path).write_text(json.dumps(bytes_copied(traces)))


_DIRECTIONS = {"MemcpyH2D": "to_card", "MemcpyD2H": "from_card"}


def bytes_copied(traces: Sequence[bytes]) -> dict[str, int]:
    """Return the bytes that were copied over the bus, by direction, and how many copies there were.

    Args:
        traces: What TensorFlow's profiler writes, `XSpace` messages.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    told = dict.fromkeys((*_DIRECTIONS.values(), "copies"), 0)
    for trace in traces:
        for plane in xplane_pb2.XSpace.FromString(trace).planes:
            if plane.name.startswith("/device:GPU"):
                for direction, size in _copies(plane):
                    told[direction] += size
                    told["copies"] += 1
    return told


def _copies(plane: Any) -> Iterator[tuple[str, int]]:
    """Yield the direction and the bytes of every copy that a device's trace holds; each lies on several lines of it."""
    names = {number: stat.name for number, stat in plane.stat_metadata.items()}
    for line in plane.lines:
        if not line.name.startswith("Stream"):
            continue
        for event in line.events:
            direction = _DIRECTIONS.get(plane.event_metadata[event.metadata_id].name)
            details = {names[stat.metadata_id]: stat.str_value or names.get(stat.ref_value, "") for stat in event.stats}
            size = re.search(r"size:(\d+)", details.get("memcpy_details", ""))
            if direction and size:
                yield direction, int(size[1])


class Watch(keras.callbacks.Callback):
    """Writes how long each epoch's training took by the wall, when the device had done it.

    Args:
        path: The file of the seconds.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._seconds: list[float] = []
        self._begin: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        tf.test.experimental.sync_devices()
        self._begin = time.perf_counter()

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        tf.test.experimental.sync_devices()
        if self._begin is not None:
            self._seconds.append(time.perf_counter() - self._begin)
            self._begin = None

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        Path(self._path).write_text(json.dumps(self._seconds))


class WatchReading(Watch):
    """The same, and reads the loss of every batch, which waits for the device; told is the time without callbacks."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        float(dict(logs or {}).get("loss", 0.0))
