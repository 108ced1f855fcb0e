"""Callbacks that do in a worker what a check needs there: harm, or watch."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
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
