"""Where the arrays lie: on the device if they fit there beside a model, else in host memory, else where they are."""

from __future__ import annotations

import functools
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy.typing as npt
import psutil
import tensorflow as tf
from tensorflow.python.client import device_lib

from search_spaces.data import Arrays
from tuning.training.arrays import TrainingArrays, device_dtype

_CPU, _GPU = "CPU:0", "GPU:0"
_SHARE_FOR_DATA = 0.5  # of the memory that is free before any model is built; the rest is the model's
_CGROUP_LIMIT, _CGROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


@dataclass(frozen=True)
class ResidentData:
    """The arrays on the device.

    Args:
        train: `(x, y)` or `(x, y, sample_weight)` as tensors.
        validation: Likewise.
        n_val: Number of validation examples.
    """

    train: tuple[Arrays, ...]
    validation: tuple[Arrays, ...]
    n_val: int


class DataPlacement:
    """Places the arrays once, when first asked for, for all trials.

    The device is the first GPU that TensorFlow sees, else the CPU. It was never run on a GPU.

    Args:
        arrays: What trials train on.
        share_for_data: The share of a memory's free bytes that the arrays may take.
    """

    def __init__(self, arrays: TrainingArrays, share_for_data: float = _SHARE_FOR_DATA) -> None:
        self._arrays = arrays
        self.on_cpu = not tf.config.list_logical_devices("GPU")
        self.free_bytes = _host_free() if self.on_cpu else _gpu_free()
        self.fits_on_device = arrays.nbytes <= share_for_data * self.free_bytes
        self.fits_on_host = arrays.nbytes <= share_for_data * _host_free()

    @functools.cached_property
    def on_device(self) -> ResidentData:
        """The arrays as tensors on the device, in Keras's float type."""
        device = _CPU if self.on_cpu else _GPU
        arrays = self._arrays
        return ResidentData(_placed(arrays.train, device), _placed(arrays.validation, device), arrays.n_val)

    @functools.cached_property
    def for_pipeline(self) -> tuple[Arrays, ...]:
        """The training arrays for a tf.data pipeline: tensors in host memory, or as they are if they do not fit."""
        if not self.fits_on_host:
            return self._arrays.train
        return self.on_device.train if self.on_cpu else _placed(self._arrays.train, _CPU)


def _placed(part: tuple[Arrays, ...], device: str) -> tuple[Arrays, ...]:
    def place(leaf: npt.NDArray[Any]) -> tf.Tensor:
        with tf.device(device):
            # identity, because an int32 constant stays in host memory even under a GPU's scope
            return tf.identity(tf.constant(leaf.astype(device_dtype(leaf), copy=False)))

    return tuple(keras.tree.map_structure(place, arrays) for arrays in part)


def _gpu_free() -> int:
    limits = [entry.memory_limit for entry in device_lib.list_local_devices() if entry.device_type == "GPU"]
    return int(limits[0]) - int(tf.config.experimental.get_memory_info(_GPU)["current"])


def _host_free() -> int:
    return min(int(psutil.virtual_memory().available), _cgroup_free(), _address_space_free())


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
