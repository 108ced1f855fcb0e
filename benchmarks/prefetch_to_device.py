"""Whether batches that are copied to a GPU ahead of time train faster than those that Keras copies one by one.

    python benchmarks/prefetch_to_device.py         # needs a GPU; half a minute on a large one

The product's pipeline of arrays feeds Keras's own `fit`, as it is and prefetched to the device, by turns. Told is the
time of an update as it is over that with the prefetching: above 1 prefetching gains. Without a GPU it ends with 2.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tuning.loops.fit_plan import EpochPipeline
from tuning.loops.order import ExampleOrder

ROUNDS = 5
CASES = ((32, 64, 1), (32, 512, 1), (96, 256, 1), (96, 256, 32))
"""The side of the images, the batch size, the updates per call."""


def build(side: int, steps: int) -> keras.Model:
    """Two convolutions."""
    layers = [
        keras.Input((side, side, 3)),
        keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(64, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10),
    ]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, steps_per_execution=steps, jit_compile=False)
    return model


def seconds_of_epoch(model: keras.Model, dataset: tf.data.Dataset) -> float:
    """Return the wall time of one epoch, when the device has done it."""
    begin = time.perf_counter()
    model.fit(dataset, epochs=1, verbose=0)
    tf.test.experimental.sync_devices()
    return time.perf_counter() - begin


def compare(side: int, batch_size: int, steps: int) -> float:
    """Return the ratio of medians of one case."""
    updates = 128
    random = np.random.default_rng(0)
    x = random.normal(size=(updates * batch_size, side, side, 3)).astype("float32")
    y = random.integers(0, 10, len(x))
    with tf.device("CPU:0"):
        data: tuple[Any, ...] = (tf.constant(x), tf.constant(y))
    pipeline = EpochPipeline(data, ExampleOrder(len(x), batch_size, seed=0))
    sized = pipeline.dataset.apply(tf.data.experimental.assert_cardinality(updates))
    ways = {"as it is": sized, "prefetched": sized.apply(tf.data.experimental.prefetch_to_device("GPU:0"))}
    models = {way: build(side, steps) for way in ways}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(ROUNDS + 1):
        for way, dataset in ways.items():
            seconds = seconds_of_epoch(models[way], dataset)
            if number:  # the first one compiles
                times[way].append(seconds)
    medians = {way: statistics.median(values) for way, values in times.items()}
    return medians["as it is"] / medians["prefetched"]


def main() -> int:
    """Compare every case."""
    if not tf.config.list_physical_devices("GPU"):
        print("needs a GPU")
        return 2
    for side, batch_size, steps in CASES:
        ratio = compare(side, batch_size, steps)
        megabytes = batch_size * side * side * 12 / 1e6
        print(
            f"{side} x {side}, batch size {batch_size} ({megabytes:.1f} MB), {steps} per call: {ratio:.3f}", flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
