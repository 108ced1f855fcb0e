"""Checks G, and those with another program on the card: what neighbours cost, in speed and in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tuning.gpu_check.bench import Bench, images
from tuning.gpu_check.check import Check, Finding, Skipped
from tuning.gpu_check.memory import GIB
from tuning.gpu_check.models import cnn
from tuning.run.cuda_driver import Gpu, ask_driver
from tuning.run.executor import DeviceError, device_names
from tuning.trial import Status

SMALL_SIZE = 64
_BYTES_OF_EXAMPLE = 3 * 2**16  # the activations of `models.wide_activations`, their gradients and a copy
_LEFT_BYTES = 6 * GIB
_WORKLOAD = """
import time
from pathlib import Path

import keras

from search_spaces import Workload
from tuning.gpu_check.bench import vectors
from tuning.gpu_check.models import wide_activations


class Crowd(keras.callbacks.Callback):
    "Has the other program take the card's memory once a small batch size has been trained."

    def on_train_end(self, logs=None):
        grow, grown = Path("grow"), Path("grown")
        if self.params["batch_size"] == {small} and not grow.exists():
            grow.touch()
            while not grown.exists():
                time.sleep(0.05)


callbacks = [Crowd()]
workload = Workload("crowded", build=wide_activations, data=lambda: vectors(2 * {large}), objective="val_loss")
"""


def _crowded(bench: Bench) -> Finding:
    """Another program takes nearly all memory for a while: the trial that it breaks runs again, and no size is lost."""
    large = max(2 * SMALL_SIZE, _memory_of(bench).total_bytes // 4 // _BYTES_OF_EXAMPLE)
    (bench.folder / "crowded.py").write_text(_WORKLOAD.format(small=SMALL_SIZE, large=large))
    trials = ["--batch-sizes", f"{SMALL_SIZE},{large}", "--epochs", "1", "--seeds", "1", "--loop", "device"]
    more = ["--callbacks", "crowded.py:callbacks", "--study", "crowded", "--json"]
    command = [sys.executable, "-m", "tuning.cli", "grid", "crowded.py:workload", *trials, *more]
    with bench.beside("tenant", str(bench.folder), "0.25", str(_LEFT_BYTES)):
        told = subprocess.run(
            command, cwd=bench.folder, env=bench.environment, capture_output=True, text=True, timeout=600, check=False
        )
    if told.returncode:
        return Finding(False, f"exit {told.returncode}: {told.stderr[-300:]}")
    return _judge_crowded(told.stdout, told.stderr, large)


def _judge_crowded(answer: str, progress: str, large: int) -> Finding:
    sizes = {row["batch_size"]: row["verdict"] for row in json.loads(answer)["table"]}
    broken = progress.count("another program may have held memory of the card")
    told = f"batch size {large}: {sizes.get(large, 'not in the table')}, after {broken} times out of memory"
    return Finding(broken > 0 and sizes.get(large) not in (None, "out_of_memory", "failed"), told, {"table": sizes})


def _full_card(bench: Bench) -> Finding:
    """On a card without room for what CUDA itself needs, one line tells it, and nothing is trained elsewhere."""
    told = []
    for left in (GIB // 4, GIB):
        with bench.beside("tenant", str(bench.folder), "all", str(left)):
            try:
                with bench.executor(cnn, images(4096)) as executor:
                    outcome = bench.train(executor, 1024, epochs=1, loop="device").outcome
                told.append(f"{outcome.status}: {outcome.reason}")
            except DeviceError as error:
                told.append(f"no device: {error}")
    holds = all(each.startswith(("no device", Status.OUT_OF_MEMORY, Status.COMPLETED)) for each in told)
    return Finding(
        holds and all("\n" not in each for each in told), "; ".join(each[:120] for each in told), {"told": told}
    )


def _memory_of(bench: Bench) -> Gpu:
    return next(gpu for gpu in ask_driver(bench.environment).gpus if gpu.uuid in bench.device)


def _slices(bench: Bench) -> Finding:
    """A slice of a card is a device of its own, with its own memory."""
    cards = [gpu for gpu in ask_driver(bench.environment).gpus if gpu.uuid.startswith("MIG-")]
    if not cards:
        raise Skipped("needs a card that is divided into slices (MIG)")
    limit = int(bench.child("limit"))
    memory = _memory_of(bench).total_bytes
    return Finding(
        limit <= memory, f"{len(cards)} slices; TensorFlow may take {limit / GIB:.1f} of {memory / GIB:.1f} GiB"
    )


def _unlike(bench: Bench) -> Finding:
    """Of unlike cards those of one model are used."""
    cards = ask_driver(bench.environment).gpus
    models = {f"gpu:{gpu.uuid}": gpu.name for gpu in cards}
    if len(set(models.values())) < 2:
        raise Skipped("needs cards of two models")
    used = device_names(None, cards)
    return Finding(len({models[name] for name in used}) == 1, f"{len(used)} of {len(cards)} cards, {models[used[0]]}")


def _side_by_side(bench: Bench) -> Finding:
    """Each card trains as fast beside the others as alone."""
    cards = device_names(None, ask_driver(bench.environment).gpus)
    if len(cards) < 2:
        raise Skipped("needs a second GPU of the same model")
    with ThreadPoolExecutor(len(cards)) as pool:
        benches = [replace(bench, device=card) for card in cards]
        alone = [_seconds_of_cnn(each) for each in benches]
        together = list(pool.map(_seconds_of_cnn, benches))
    least = min(one / other for one, other in zip(alone, together, strict=True))
    detail = {"alone": alone, "together": together}
    return Finding(least >= 0.9, f"{len(cards)} cards, {least:.2f} of the speed alone", detail)


def _seconds_of_cnn(bench: Bench) -> float:
    with bench.executor(cnn, images(8192)) as executor:
        return bench.seconds_per_update(executor, 256, "device").seconds_per_update


CHECKS = (
    Check("A6", "a slice of a card is a device", "no more than its own memory", _slices),
    Check("B6", "another program's growth costs no batch size", "it runs again and trains", _crowded, is_quick=False),
    Check("B8", "a full card is told", "one line; nothing on the CPU", _full_card, is_quick=False),
    Check("G1", "cards do not disturb one another", "0.9 of the speed alone", _side_by_side),
    Check("G2", "unlike cards are not mixed", "cards of one model", _unlike),
)
