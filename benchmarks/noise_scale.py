"""The gradient noise scale against its exact value: every example's gradient in float64.

    python benchmarks/noise_scale.py [--data MNIST.npz] [--repetitions 50] [--updates 0,50,200]

An MLP 784-128-10 is trained with SGD at 0.1 and batch size 64, as in the reference numbers of a numpy implementation
(B_simple 71 to 78 at the start over three draws, 250 after 50 updates, 232 after 200, one seed). At each moment the
weights are frozen, and the probe is repeated with fresh examples: its error, and how often its 90 % interval holds the
truth. Without the data file, scikit-learn's digits stand in.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from tuning.loops.noise_scale import FrozenGradients

_DATA = Path(__file__).parents[2] / "shared" / "data" / "mnist_60k_3k.npz"
_HIDDEN, _CLASSES, _BATCH, _RATE = 128, 10, 64, 0.1


def main() -> None:
    """Measure and print one line per moment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=_DATA)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--updates", default="0,50,200")
    parser.add_argument("--examples", type=int, default=4096)
    asked = parser.parse_args()
    x, y = _load(asked.data)
    model = _model(x.shape[1])
    rows = np.random.default_rng(0).permutation(len(x))
    print(f"{len(x)} examples of {x.shape[1]} values; n = {asked.examples}, b = 32, {asked.repetitions} repetitions")
    print(f"{'update':>6s} {'exact':>8s} {'median':>8s} {'error':>7s} {'sd/true':>7s} {'covered':>7s} {'refused':>7s}")
    done = 0
    for update in sorted(map(int, asked.updates.split(","))):
        for step in range(done, update):
            batch = rows[(step * _BATCH) % (len(x) - _BATCH) :][:_BATCH]
            model.train_on_batch(x[batch], y[batch])
        done = update
        _report(model, x, y, update, asked.repetitions, asked.examples)


def _report(model: Any, x: Any, y: Any, update: int, repetitions: int, examples: int) -> None:
    truth = exact_noise_scale(model, x, y)
    probe = FrozenGradients(model, (x, y), examples=examples)
    found = [probe.measure() for _ in range(repetitions)]
    values = np.array([each.value for each in found if each.value is not None])
    covered = np.mean([_covers(each, truth) for each in found])
    refused = sum(each.value is None for each in found)
    median = float(np.median(values)) if len(values) else float("nan")
    spread = float(np.std(values / truth)) if len(values) else float("nan")
    print(
        f"{update:6d} {truth:8.1f} {median:8.1f} {median / truth - 1:+7.1%} {spread:7.3f} {covered:7.0%} {refused:7d}",
        flush=True,
    )


def _covers(found: Any, truth: float) -> bool:
    above = found.low is None or found.low <= truth
    return above and (found.high is None or truth <= found.high)


def exact_noise_scale(model: Any, x: Any, y: Any) -> float:
    """tr(Sigma)/|G|^2 of every example's gradient, in float64, for the two dense layers written out.

    With delta the loss's derivative by a layer's output and a its input, |g_i|^2 = |delta_i|^2 (|a_i|^2 + 1).
    """
    w1, b1, w2, b2 = (weight.astype(np.float64) for weight in model.get_weights())
    inputs = x.astype(np.float64)
    hidden = np.maximum(inputs @ w1 + b1, 0)
    scores = hidden @ w2 + b2
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(y)), y] -= 1
    below = (shares @ w2.T) * (hidden > 0)
    norms = (below**2).sum(1) * ((inputs**2).sum(1) + 1) + (shares**2).sum(1) * ((hidden**2).sum(1) + 1)
    count = len(y)
    parts = (inputs.T @ below, below.sum(0), hidden.T @ shares, shares.sum(0))
    squared = sum(float((part**2).sum()) for part in parts) / count**2
    trace = (float(norms.sum()) - count * squared) / (count - 1)
    return trace / squared


def _model(width: int) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    normal = keras.initializers.RandomNormal
    model = keras.Sequential(
        [
            keras.Input((width,)),
            keras.layers.Dense(_HIDDEN, "relu", kernel_initializer=normal(stddev=(2 / width) ** 0.5, seed=1)),
            keras.layers.Dense(_CLASSES, kernel_initializer=normal(stddev=_HIDDEN**-0.5, seed=2)),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(_RATE), loss)
    return model


def _load(path: Path) -> tuple[Any, Any]:
    if path.exists():
        with np.load(path) as archive:
            images, labels = archive["x_train"], archive["y_train"]
        return (images.reshape(len(images), -1) / 255).astype("float32"), labels.astype("int32")
    print(f"{path} is absent; scikit-learn's digits stand in")
    from search_spaces.digits import load_digits

    data = load_digits()
    return data.x_train, data.y_train


if __name__ == "__main__":
    main()
