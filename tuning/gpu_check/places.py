"""Checks A: which cards there are, who sits on which, and what is told where one cannot be used."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tuning.gpu_check.bench import Bench, vectors
from tuning.gpu_check.check import Check, Finding, Skipped
from tuning.gpu_check.models import mlp
from tuning.run.asking import first_device
from tuning.run.cuda_driver import ask_driver
from tuning.run.executor import DeviceError, MissingGpuError


def _discovery(bench: Bench) -> Finding:
    """Compare the driver's answer, that of NVIDIA's tool, and what a worker tells of itself."""
    told = [gpu.uuid for gpu in ask_driver(bench.environment).gpus]
    tool = _cards_by_tool()
    with bench.executor(mlp, vectors(64)) as executor:
        worker = first_device(executor).uuid
    agrees = worker in told and (tool is None or set(tool) == set(told))
    by_tool = "NVIDIA's tool is missing" if tool is None else f"NVIDIA's tool {len(tool)}"
    return Finding(agrees, f"driver {len(told)}, {by_tool}, worker {worker}", {"driver": told, "tool": tool})


def _cards_by_tool() -> list[str] | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    asked = subprocess.run(
        [tool, "--query-gpu=uuid", "--format=csv,noheader"], capture_output=True, text=True, timeout=60, check=False
    )
    return asked.stdout.split() if asked.returncode == 0 else None


def _placement(bench: Bench) -> Finding:
    """A worker that is given a card by its name sits there, however cards are numbered."""
    asked, found = bench.device.partition(":")[2], []
    for order in (None, "FASTEST_FIRST", "PCI_BUS_ID"):
        with _variable("CUDA_DEVICE_ORDER", order), bench.executor(mlp, vectors(64)) as executor:
            found.append(first_device(executor).uuid)
    return Finding(set(found) == {asked}, f"{len(found)} workers on {', '.join(sorted(set(found)))}")


def _hiding(bench: Bench) -> Finding:
    """What hides cards from TensorFlow hides them from us."""
    name = bench.device.partition(":")[2]
    hidings = ("", "-1", "0", "0,-1,1", "7,0", name, name[:12], name[:3])

    def count(listed: str) -> int:
        return int(bench.child("count_gpus", CUDA_VISIBLE_DEVICES=listed))

    with ThreadPoolExecutor(4) as pool:
        theirs = list(pool.map(count, hidings))
    ours = [len(ask_driver({**bench.environment, "CUDA_VISIBLE_DEVICES": listed}).gpus) for listed in hidings]
    unlike = [listed for listed, one, other in zip(hidings, ours, theirs, strict=True) if one != other]
    return Finding(not unlike, f"{len(hidings)} ways of hiding, {len(unlike)} unlike", {"unlike": unlike})


def _driver_process(bench: Bench) -> Finding:
    """The process that searches loads no CUDA while its worker trains."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        raise Skipped("needs Linux's /proc/self/maps")
    with bench.executor(mlp, vectors(512)) as executor:
        bench.train(executor, 64)
        loaded = [line for line in maps.read_text().splitlines() if "libcuda" in line]
    return Finding(not loaded, f"{len(loaded)} mappings of CUDA's library in the driver process")


def _missing_libraries(bench: Bench) -> Finding:
    """TensorFlow without its CUDA libraries is told, in place of training on the CPU."""
    if importlib.util.find_spec("nvidia") is not None:
        raise Skipped("needs CUDA's libraries outside of the Python environment, to hide them")
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    without = ":".join(folder for folder in folders if folder and not list(Path(folder).glob("libcudart.so*")))
    with _variable("LD_LIBRARY_PATH", without):
        try:
            with bench.executor(mlp, vectors(64)) as executor:
                first_device(executor)
        except MissingGpuError as error:
            return Finding("batch-size-tuner[gpu]" in str(error), str(error))
        except DeviceError as error:
            return Finding(False, f"told otherwise: {error}")
    return Finding(False, "the worker says that it can work")


class _variable:  # noqa: N801 (a context manager, as contextlib's are named)
    """Sets a variable of this process, which workers inherit, for a while; None removes it."""

    def __init__(self, name: str, value: str | None) -> None:
        self._name, self._value = name, value
        self._before = os.environ.get(name)

    def __enter__(self) -> None:
        self._set(self._value)

    def __exit__(self, *_: object) -> None:
        self._set(self._before)

    def _set(self, value: str | None) -> None:
        if value is None:
            os.environ.pop(self._name, None)
        else:
            os.environ[self._name] = value


def _command(bench: Bench) -> Finding:
    """The command line trains on the card, and its answer names it."""
    command = [sys.executable, "-m", "tuning.cli", "grid", "digits", "--batch-sizes", "64", "--epochs", "1", "--json"]
    told = subprocess.run(
        command, cwd=bench.folder, env=bench.environment, capture_output=True, text=True, timeout=300, check=False
    )
    name = next((gpu.name for gpu in ask_driver(bench.environment).gpus if gpu.uuid in bench.device), "?")
    machine = json.loads(told.stdout)["machine"] if told.returncode == 0 else [told.stderr[-200:]]
    named = any(name in line for line in machine)
    return Finding(named, f"exit {told.returncode}; {machine[0]}", {"machine": machine})


_HANGS = """
import time
import keras


class Hang(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if self.params["seed"] == 0:
            time.sleep(3600)


callbacks = [Hang()]
"""
_LIMIT_S, _LATE_S = 20.0, 30.0


def _hang(bench: Bench) -> Finding:
    """A trial that hangs on the card ends at its limit, and the next one trains there."""
    (bench.folder / "hangs.py").write_text(_HANGS)
    trials = ["--batch-sizes", "64", "--epochs", "1", "--seeds", "2", "--callbacks", "hangs.py:callbacks"]
    more = ["--study", "hang", "--trial-timeout", f"{_LIMIT_S:g}", "--json"]
    command = [sys.executable, "-m", "tuning.cli", "grid", "digits", *trials, *more]
    begin = time.monotonic()
    told = subprocess.run(
        command, cwd=bench.folder, env=bench.environment, capture_output=True, text=True, timeout=600, check=False
    )
    seconds = time.monotonic() - begin
    ended = "longer than the limit" in told.stderr
    late = seconds - _LIMIT_S
    measured = f"exit {told.returncode}, told that it was ended: {ended}, {late:.0f} s beside the limit"
    return Finding(told.returncode == 0 and ended and late <= 2 * _LATE_S, measured)


CHECKS = (
    Check("A1", "discovery agrees", "the same cards", _discovery),
    Check("A2", "a worker is on the GPU it was given", "the card's own name", _placement),
    Check("A3", "what is hidden from TensorFlow is hidden from us", "the same number of cards", _hiding),
    Check("A4", "the driver process holds no GPU", "no mapping", _driver_process),
    Check("A5", "TensorFlow without CUDA is told", "one line that names the extra", _missing_libraries),
    Check("C4", "a trial that hangs ends", "a minute beside its limit, with the start of two workers", _hang),
    Check("I1", "the command line trains on the card and names it", "exit 0", _command),
)
