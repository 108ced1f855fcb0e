"""The facts of a device, found by the worker that sits on it: what the driver knows of another machine is nothing."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuning.run.cuda_driver import driver_version, visible_here
from tuning.run.executor import (
    THREAD_VARIABLES,
    Device,
    DeviceError,
    MissingGpuError,
    cards_of,
    rehearses,
    usable_cores,
)
from tuning.run.memory_limit import MemoryLimit, find_memory_limit


def cpu_device(name: str, *, asked_bytes: int | None = None, sharing: int = 1) -> Device:
    """Return the CPU of this process as a device; loads no TensorFlow, so that it can be told before that is loaded.

    Args:
        name: The device's name.
        asked_bytes: The user's memory limit for each worker, None for none.
        sharing: The number of workers that share this CPU.
    """
    cards = cards_of(name)
    return Device(
        name,
        kind=_kind(cpu_model(), cards),
        node=platform.node(),
        is_gpu=False,
        cores=usable_cores(),
        threads=worker_threads(),
        memory=find_memory_limit(asked_bytes, sharing=sharing),
        cards=cards,
    )


def gpu_device(name: str, *, asked_bytes: int | None = None) -> Device:
    """Return the GPU that TensorFlow uses in this process as a device, and have it use no more than it needs.

    Args:
        name: The device's name; after the colon, as the driver named the GPU, or several GPUs.
        asked_bytes: The user's memory limit, which TensorFlow then keeps on each GPU; None for none.

    Raises:
        MissingGpuError: If TensorFlow sees no GPU, without which it would train on the CPU and say nothing.
        DeviceError: If it sees another one, or too few.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise MissingGpuError(
            f"{name} cannot be used: TensorFlow {tf.__version__} sees no GPU there. Install its CUDA libraries "
            "(pip install 'batch-size-tuner[gpu]'), or set CUDA_VISIBLE_DEVICES=-1 to use the CPU."
        )
    cards = cards_of(name)
    if len(gpus) < cards:
        raise DeviceError(f"{name} cannot be used: TensorFlow sees {len(gpus)} of the {cards} GPUs there.")
    _limit_memory(gpus, asked_bytes)
    details = tf.config.experimental.get_device_details(gpus[0])
    return Device(
        name,
        kind=_kind(str(details.get("device_name", "GPU")), cards),
        node=platform.node(),
        is_gpu=True,
        cores=usable_cores(),
        threads=worker_threads(),
        memory=_gpu_memory(name, asked_bytes),
        uuid=_cards_here(name),
        facts=_gpu_facts(details),
        cards=cards,
    )


def rehearse(cards: int) -> None:
    """Have parts of the CPU stand in for cards in this process, where that is asked for and there are none.

    TensorFlow must not have been used here.
    """
    if cards == 1 or not rehearses():
        return
    import tensorflow as tf

    from tuning.loops.replicas import divide_cpu

    if not tf.config.list_physical_devices("GPU"):
        divide_cpu(cards)


def this_process(name: str = "inline") -> Device:
    """Return the device on which TensorFlow trains in this very process, for an `InlineExecutor`."""
    import tensorflow as tf

    return gpu_device(name) if tf.config.list_physical_devices("GPU") else cpu_device(name)


def cpu_model(root: Path = Path("/")) -> str:
    """Return the processor's model, such as "AMD EPYC 7B13"; at least its architecture.

    Args:
        root: The root of the file system.
    """
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def worker_threads() -> int:
    """Return the CPU threads of TensorFlow in this process: what its variable says, else one for each core."""
    told = os.environ.get(THREAD_VARIABLES[1], "")
    return int(told) if told.isdigit() and int(told) > 0 else usable_cores()


def _limit_memory(gpus: list[Any], asked_bytes: int | None) -> None:
    """Keep the user's limit on the device, or else let TensorFlow's memory grow with its need."""
    import tensorflow as tf

    for gpu in gpus:
        if asked_bytes is None:
            with contextlib.suppress(RuntimeError):  # TensorFlow already trains in this very process
                tf.config.experimental.set_memory_growth(gpu, True)
        else:  # TensorFlow refuses growth together with a limit
            limit = tf.config.LogicalDeviceConfiguration(memory_limit=asked_bytes / 2**20)
            tf.config.set_logical_device_configuration(gpu, [limit])


def _kind(model: str, cards: int) -> str:
    return model if cards == 1 else f"{cards} x {model}"


def _cards_here(name: str) -> str:
    """Return the UUID of the card on which this process sits, or of several, with commas between them.

    Raises:
        DeviceError: If they are not those that were asked for.
    """
    cards = [gpu.uuid for gpu in visible_here().gpus]
    asked = name.partition(":")[2]
    sits = ",".join(cards[: cards_of(name)])
    if asked.startswith(("GPU-", "MIG-")) and asked != sits:
        raise DeviceError(f"{name} cannot be used: the worker sits on {', '.join(cards) or 'no card'} instead.")
    return sits


def _gpu_facts(details: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return what decides about speed and results on this GPU, by name; what is not known is left out."""
    import tensorflow as tf

    built = tf.sysconfig.get_build_info()
    told = {
        "compute capability": ".".join(map(str, details.get("compute_capability", ()))),
        "NVIDIA driver": driver_version(),
        "CUDA": built.get("cuda_version", ""),
        "cuDNN": built.get("cudnn_version", ""),
    }
    return tuple((name, str(value)) for name, value in told.items() if value)


def _gpu_memory(name: str, asked_bytes: int | None) -> MemoryLimit:
    """Return the limit of TensorFlow's own allocator; of several cards the least.

    Raises:
        DeviceError: If it does not tell.
    """
    if asked_bytes is not None:
        return MemoryLimit(asked_bytes, "--memory-limit")
    from tensorflow.python.client import device_lib  # no public name tells the limit (tensorflow 2.21)

    limits = [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU"]
    if not limits:
        raise DeviceError(f"{name} cannot be used: TensorFlow does not tell how much of its memory it may take.")
    return MemoryLimit(min(limits), "GPU")
