"""How near the memory probe comes to the true largest batch size, and with how many trainings.

The truth is found by bisection: each size is trained in a fresh worker that is held to the limit, until two sizes
within 1 % of each other are known to fit and not to fit. Run: `python benchmarks/memory_probe.py [mlp cnn lstm]`.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from search_spaces.data import Data
from tuning.machine.memory import margin_for, probe_memory
from tuning.messages import DescribeRequest, MemoryProbe, MemoryProbeRequest, ModelDescription
from tuning.run.asking import ask
from tuning.run.executor import WorkerSetup
from tuning.run.local import LocalExecutor
from tuning.run.memory_limit import MemoryLimit

_RESOLUTION = 1.01
_CLASSES = 10


def mlp() -> Any:
    """784-2048-2048-10."""
    from keras import Input, Sequential, layers

    return _compiled(
        Sequential(
            [Input((784,)), layers.Dense(2048, "relu"), layers.Dense(2048, "relu"), layers.Dense(_CLASSES, "softmax")]
        )
    )


def cnn() -> Any:
    """Two convolutions on 64x64x3."""
    from keras import Input, Sequential, layers

    return _compiled(
        Sequential(
            [
                Input((64, 64, 3)),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(64, 3, activation="relu"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(_CLASSES, "softmax"),
            ]
        )
    )


def lstm() -> Any:
    """One LSTM of 128 units on 64 steps of 16 values."""
    from keras import Input, Sequential, layers

    return _compiled(Sequential([Input((64, 16)), layers.LSTM(128), layers.Dense(_CLASSES, "softmax")]))


MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...], int, float]] = {
    "mlp": (mlp, (784,), 100_000, 2.0),
    "cnn": (cnn, (64, 64, 3), 4_000, 2.5),
    "lstm": (lstm, (64, 16), 40_000, 2.5),
}
"""Build function, shape of an example, training examples, and the limit in GiB."""


def main() -> None:
    """Measure and print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL", help="|".join(MODELS))
    parser.add_argument("--no-truth", action="store_true", help="probe only")
    asked = parser.parse_args()
    print(
        f"{'model':6s} {'limit':>8s} {'probed':>7s} {'true':>7s} {'error':>7s} {'probes':>6s} {'resid':>6s} {'s':>5s}"
    )
    for name in asked.models:
        _measure(name, with_truth=not asked.no_truth)


def _measure(name: str, *, with_truth: bool) -> None:
    build, shape, n_train, limit_gib = MODELS[name]
    limit = MemoryLimit(int(limit_gib * 2**30), "--memory-limit")
    setup = WorkerSetup(build, _data(shape, n_train), memory_limit_bytes=limit.bytes, holds_memory=True)
    with contextlib.closing(LocalExecutor(setup, ("cpu:0",))) as executor:
        begin = time.monotonic()
        margin = margin_for(limit, has_batch_normalization=False, loop="keras")
        described = ask(executor, DescribeRequest("describe", {}))
        assert isinstance(described, ModelDescription)
        found = probe_memory(
            executor,
            limit,
            n_train=n_train,
            margin=margin,
            bytes_per_example=described.tensor_bytes_per_example,
        )
        seconds = time.monotonic() - begin
        truth = _bisect(executor, found.largest_batch_size, n_train) if with_truth else 0
    for probe in found.probes:
        print(f"    {probe.batch_size:6d} {probe.peak_bytes or 0:14,d} {'fits' if probe.fits else probe.reason[:90]}")
    error = found.largest_batch_size / truth - 1 if truth else float("nan")
    residual = found.line.largest_residual if found.line else float("nan")
    print(
        f"{name:6s} {limit_gib:5.1f}GiB {found.largest_batch_size:7d} {truth:7d} {error:+7.1%} {len(found.probes):6d} "
        f"{residual:6.2%} {seconds:5.0f}",
        flush=True,
    )


def _bisect(executor: LocalExecutor, start: int, n_train: int) -> int:
    """The largest size that fits, within 1 %, by doubling away from `start` and then halving the bracket."""
    fits, lost = 0, n_train + 1
    size = start
    while lost > _RESOLUTION * fits + 1:
        if _trains(executor, size):
            fits = size
        else:
            lost = size
        near = fits * 1.08 if fits else lost / 1.08
        size = int(near) if (fits == 0 or lost == n_train + 1) else (fits + lost) // 2
        if size > n_train:
            size = n_train
        if fits == n_train:
            break
    return fits


def _trains(executor: LocalExecutor, batch_size: int) -> bool:
    executor.renew(executor.devices()[0].name)  # nothing of earlier trainings is left in its memory
    answer = ask(executor, MemoryProbeRequest(f"truth-{batch_size}", batch_size))
    return isinstance(answer, MemoryProbe)


def _data(shape: tuple[int, ...], n_train: int) -> Data:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n_train, *shape)).astype("float32")
    y = generator.integers(0, _CLASSES, n_train).astype("int32")
    return Data(x, y, x[:512], y[:512])


def _compiled(model: Any) -> Any:
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


if __name__ == "__main__":
    main()
