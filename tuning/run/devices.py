"""The devices of this machine, found without TensorFlow, so that the driver never takes a GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping


def visible_gpus(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The GPUs that a worker may be given, as `CUDA_VISIBLE_DEVICES` names them.

    Respects a `CUDA_VISIBLE_DEVICES` that is already set; an empty one, or -1, means none.
    """
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        names = [name.strip() for name in listed.split(",")]
        return tuple(name for name in names if name and name != "-1")
    return _gpus_of_driver()


def device_names(workers: int | None, gpus: tuple[str, ...]) -> tuple[str, ...]:
    """One device per GPU, or `workers` shares of the CPU where there is none.

    Args:
        workers: How many to use; None for every GPU, or one CPU worker, whose timings no neighbour disturbs.
        gpus: From `visible_gpus`.

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


def share_of_threads(n_devices: int) -> int:
    """The CPU threads of each of so many workers on the CPU: an equal share of the cores."""
    return max(1, (os.cpu_count() or 1) // n_devices)


def worker_environment(device: str, threads: int) -> dict[str, str]:
    """The variables that place a worker on its device; they must be set before TensorFlow is imported.

    Args:
        device: From `device_names`.
        threads: CPU threads of a worker on the CPU; one on a GPU is left to TensorFlow.
    """
    kind, _, name = device.partition(":")
    if kind == "gpu":
        return {"CUDA_VISIBLE_DEVICES": name, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    variables = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {"CUDA_VISIBLE_DEVICES": "-1", **dict.fromkeys(variables, str(threads))}


def gpu_free_bytes(name: str) -> tuple[int, ...]:
    """The free memory of a GPU; empty where its driver does not tell."""
    if shutil.which("nvidia-smi") is None:
        return ()
    told = subprocess.run(
        ["nvidia-smi", f"--id={name}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tuple(int(line) * 2**20 for line in told.stdout.split() if line.isdigit())


def _gpus_of_driver() -> tuple[str, ...]:
    if shutil.which("nvidia-smi") is None:
        return ()
    listing = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return tuple(line.strip() for line in listing.stdout.splitlines() if line.strip().isdigit())
