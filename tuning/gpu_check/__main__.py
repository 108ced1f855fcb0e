"""The command: carries out the checks one after another, prints a table, writes a JSON file."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tuning.gpu_check import memory, neighbours, places, speed
from tuning.gpu_check.bench import Bench, vectors
from tuning.gpu_check.check import Result, Verdict, carry_out, summary
from tuning.gpu_check.models import mlp
from tuning.run.asking import first_device
from tuning.run.cuda_driver import ask_driver
from tuning.run.executor import Device, DeviceError, device_names

CHECKS = (*places.CHECKS, *memory.CHECKS, *neighbours.CHECKS, *speed.CHECKS)
NOTHING_FAILED, SOMETHING_FAILED, NO_GPU = 0, 1, 2
_PACKAGES = ("batch-size-tuner", "tensorflow", "keras", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the first GPU.

    Returns:
        0 if no check failed, 1 if one did, 2 if there is no usable GPU.
    """
    parser = argparse.ArgumentParser(prog="python -m tuning.gpu_check", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the checks that take long")
    parser.add_argument("--only", metavar="ID,...", help="carry out these checks alone, such as A1,B3")
    parser.add_argument("--json", metavar="FILE", help="write the results into this file")
    asked = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    begin = time.monotonic()
    try:
        name, device = _device()
    except DeviceError as error:
        print(f"gpu-check: {error}", file=sys.stderr)
        return NO_GPU
    only = set(asked.only.split(",")) if asked.only else None
    checks = [check for check in CHECKS if (check.id in only if only else check.is_quick or not asked.quick)]
    results = []
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        for check in checks:
            results.append(carry_out(check, Bench(name, Path(folder))))
            _tell(results[-1])
            if asked.json:
                _write(Path(asked.json), device, results)
    _show(results, time.monotonic() - begin)
    return SOMETHING_FAILED if any(result.status is Verdict.FAIL for result in results) else NOTHING_FAILED


def _device() -> tuple[str, Device]:
    """Return the name of the first GPU, and what its worker tells of it.

    Raises:
        DeviceError: If there is none that can be used, with what is missing.
    """
    answer = ask_driver()
    if answer.problem:
        raise DeviceError(f"The CUDA driver cannot be used: {answer.problem}.")
    if not answer.gpus:
        raise DeviceError(
            "This machine shows no GPU: NVIDIA's driver (libcuda.so.1) is missing, or no card is visible."
        )
    name = device_names(1, answer.gpus)[0]
    with tempfile.TemporaryDirectory() as folder, Bench(name, Path(folder)).executor(mlp, vectors(64)) as executor:
        return name, first_device(executor)


def _tell(result: Result) -> None:
    print(f"{result.id:8} {result.status.upper():4} {result.measured} ({result.seconds:.0f} s)", flush=True)


def _write(path: Path, device: Device, results: Sequence[Result]) -> None:
    path.write_text(json.dumps(document(device, results), indent=1) + "\n")


def document(device: Device, results: Sequence[Result]) -> dict[str, Any]:
    """Return what the JSON file holds."""
    gpu = {"uuid": device.uuid, "name": device.kind, "bytes": device.memory.bytes, **dict(device.facts)}
    versions = {package: importlib.metadata.version(package) for package in _PACKAGES}
    return {
        "tool": "gpu-check",
        "time": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {"gpus": [gpu], "cores": device.cores, **versions},
        "checks": [result.to_json() for result in results],
        **summary(results),
    }


def _show(results: Sequence[Result], seconds: float) -> None:
    table = Table("check", "", "measured", "holds if", title=f"GPU check, {seconds:.0f} s")
    for result in results:
        table.add_row(f"{result.id} {result.title}", result.status, result.measured, result.threshold)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
