"""The workers that this machine can have, chosen without TensorFlow, so that the driver never takes a GPU."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
from collections.abc import Mapping

THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
"""The variables that set the CPU threads of NumPy and TensorFlow; each is read once, when they are imported."""

_NVIDIA_SMI_TIMEOUT_S = 20.0  # a sound driver answers within 3 s even cold; a wedged one blocks it for ever


def visible_gpus(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the GPUs that a worker may be given, as `CUDA_VISIBLE_DEVICES` names them.

    A `CUDA_VISIBLE_DEVICES` that is already set is respected as CUDA reads it: what follows an entry that names no
    GPU, such as -1, is hidden.
    """
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return tuple(line for line in ask_nvidia_smi("--query-gpu=index") if line.isdigit())
    names = (name.strip() for name in listed.split(","))
    return tuple(itertools.takewhile(lambda name: name and not name.startswith("-"), names))


def device_names(workers: int | None, gpus: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of this machine's devices: one for each GPU, or shares of the CPU where there is none.

    Args:
        workers: How many to use; None for every GPU, or one CPU worker, whose timings no neighbour disturbs.
        gpus: The GPUs that may be used, from `visible_gpus`.

    Raises:
        ValueError: If there are fewer GPUs than workers.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}.")
    if not gpus:
        return tuple(f"cpu:{number}" for number in range(workers or 1))
    if workers is not None and workers > len(gpus):
        raise ValueError(
            f"workers must not exceed the {len(gpus)} visible GPUs, one each; got {workers}. "
            "Lower it, or hide the GPUs with CUDA_VISIBLE_DEVICES=-1 to use the CPU."
        )
    return tuple(f"gpu:{name}" for name in gpus[:workers])


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use, which containers and schedulers restrict."""
    if hasattr(os, "sched_getaffinity"):  # Linux has it, macOS and Windows have not
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_of_threads(n_devices: int) -> int:
    """Return the CPU threads of each of so many workers on this machine's CPU: an equal share of the usable cores."""
    return max(1, usable_cores() // n_devices)


def worker_environment(device: str, threads: int, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that place a worker on its device; they must be set before TensorFlow is imported.

    Args:
        device: A device's name, from `device_names`.
        threads: The CPU threads of a worker on the CPU; those of one on a GPU are left to TensorFlow.
        environment: The driver's variables.
    """
    kind, _, name = device.partition(":")
    if kind != "gpu":
        return {"CUDA_VISIBLE_DEVICES": "-1", **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    placed = {"CUDA_VISIBLE_DEVICES": name, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    if "CUDA_VISIBLE_DEVICES" not in environment:
        placed["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # nvidia-smi's numbers, where CUDA's own order is by speed
    return placed


def ask_nvidia_smi(*query: str) -> tuple[str, ...]:
    """Return the lines that `nvidia-smi` answers to a query, none if it is missing, fails or does not answer."""
    command = ["nvidia-smi", *query, "--format=csv,noheader,nounits"]
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        )
    except OSError:
        return ()
    try:
        answer, _ = process.communicate(timeout=_NVIDIA_SMI_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        _abandon(process)
        return ()
    return tuple(line.strip() for line in answer.splitlines()) if process.returncode == 0 else ()


def _abandon(process: subprocess.Popen[str]) -> None:
    """Kill a process without waiting long: one that a wedged driver holds in the kernel cannot even be killed."""
    process.kill()
    if process.stdout is not None:
        process.stdout.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)
