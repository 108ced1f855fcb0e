"""The GPUs of this machine as the CUDA driver itself tells them, asked in a process of its own.

TensorFlow asks the same library, so that both obey `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER` alike, and see the
same slices of a card (MIG) in the same container. NVIDIA's command-line tool does not: it is missing in containers that
were given only what computing needs, numbers the cards otherwise, and knows no memory of slices. Whoever asks may hang
in the driver, or hold memory on every card, so a process of its own does; it runs this file, which imports nothing of
ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 20.0
"""A sound driver answers within 3 s even cold; a wedged one never does."""

_LIBRARIES = ("libcuda.so.1", "libcuda.so")
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE: the driver is sound and sees nothing, or nothing is visible
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True)
class Gpu:
    """One card, or one slice of a card.

    Args:
        uuid: Its name for `CUDA_VISIBLE_DEVICES`: "GPU-..." or, of a slice, "MIG-...".
        name: The card's model.
        total_bytes: Its memory.
        capability: Its compute capability, such as "9.0".
    """

    uuid: str
    name: str
    total_bytes: int
    capability: str


@dataclass(frozen=True)
class DriverAnswer:
    """What the driver told.

    Args:
        gpus: What a worker may be given, in the driver's order.
        problem: Why nothing can be said although there is a driver; empty where all is well, or there is none.
    """

    gpus: tuple[Gpu, ...] = ()
    problem: str = ""


def ask_driver(environment: Mapping[str, str] = os.environ, *, timeout_s: float = TIMEOUT_S) -> DriverAnswer:
    """Ask the CUDA driver for the GPUs that a process with these variables would see.

    Args:
        environment: The variables, of which CUDA reads `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER`.
        timeout_s: How long to wait for the driver.
    """
    if environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return DriverAnswer()
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=dict(environment),
    )
    try:
        told, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _abandon(process)
        return DriverAnswer(problem=f"it did not answer within {timeout_s:g} s")
    try:
        answer = json.loads(told)
    except ValueError:
        return DriverAnswer(problem=f"the process that asked it ended with exit code {process.returncode}")
    return DriverAnswer(tuple(Gpu(**gpu) for gpu in answer["gpus"]), answer["problem"])


def visible_here() -> DriverAnswer:
    """Ask the CUDA driver in this very process, which it then belongs to; for a worker that is on its card already."""
    cuda = _library()
    if cuda is None:
        return DriverAnswer()
    if code := cuda.cuInit(0):
        return DriverAnswer(problem="" if code == _NO_DEVICE else f"it fails with error {code}{_name_of(cuda, code)}")
    count = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    return DriverAnswer(tuple(_gpu(cuda, index) for index in range(count.value)))


def driver_version(root: Path = Path("/")) -> str:
    """Return the version of the kernel's NVIDIA driver, such as "580.159.04"; empty where it does not tell.

    Args:
        root: The root of the file system.
    """
    try:
        found = re.search(r"\b\d+\.\d+(\.\d+)?\b", (root / "proc/driver/nvidia/version").read_text())
    except OSError:
        return ""
    return found[0] if found else ""


def _abandon(process: subprocess.Popen[str]) -> None:
    """Kill a process without waiting long: one that a wedged driver holds in the kernel cannot even be killed."""
    process.kill()
    if process.stdout is not None:
        process.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)


def _library() -> Any:
    for name in _LIBRARIES:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    return None


def _gpu(cuda: Any, index: int) -> Gpu:
    device, total = ctypes.c_int(), ctypes.c_size_t()
    name, raw = ctypes.create_string_buffer(256), (ctypes.c_ubyte * 16)()
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceGetUuid_v2(raw, device)  # of the slice, where the card is divided
    cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device)
    model = name.value.decode(errors="replace")
    kind = "MIG" if " MIG " in model else "GPU"
    capability = f"{_attribute(cuda, device, _MAJOR)}.{_attribute(cuda, device, _MINOR)}"
    return Gpu(f"{kind}-{uuid.UUID(bytes=bytes(raw))}", model, total.value, capability)


def _attribute(cuda: Any, device: ctypes.c_int, attribute: int) -> int:
    value = ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return value.value


def _name_of(cuda: Any, code: int) -> str:
    """Return the name of an error in brackets, such as " (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)"; empty if unknown."""
    told = ctypes.c_char_p()
    if cuda.cuGetErrorName(code, ctypes.byref(told)) or told.value is None:
        return ""
    return f" ({told.value.decode()})"


if __name__ == "__main__":
    print(json.dumps(asdict(visible_here())))
