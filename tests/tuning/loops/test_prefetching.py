"""Batches are made ahead, and copied to a GPU where one trains; the CPU stands in for the card."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from asynchronous import GpuOnTheCpu
from training_helpers import make_data

from search_spaces.data import Data
from search_spaces.stream import Stream
from tuning.loops.arrays import DataPlacement, as_keras_sees_them
from tuning.loops.loading_pipeline import pipeline_for
from tuning.loops.order import ExampleOrder
from tuning.loops.prefetching import made_ahead
from tuning.loops.processor import Cpu

DATA = make_data()
ROWS = np.arange(DATA.n_train)


def slices() -> Any:
    return tf.data.Dataset.from_tensor_slices(DATA.train)


MADE = {
    "arrays": DATA,
    "keys": Data(
        ROWS, DATA.y_train, ROWS, DATA.y_train, load=lambda x, y: (tf.gather(tf.constant(DATA.x_train), x), y)
    ),
    "stream": Stream(lambda seed: slices().shuffle(50, seed=seed), slices, len(ROWS), len(ROWS), "made up"),
}


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where batches have been copied to, and how many ahead."""
    found: list[tuple[str, int]] = []
    real = tf.data.experimental.prefetch_to_device

    def copying(device: str, size: int) -> Any:
        found.append((device, size))
        return real(device, size)

    monkeypatch.setattr(tf.data.experimental, "prefetch_to_device", copying)
    return found


@pytest.mark.parametrize("kind", MADE)
def test_batches_lie_where_the_model_trains(kind: str, copied: list[tuple[str, int]]) -> None:
    arrays, order = as_keras_sees_them(MADE[kind], None), ExampleOrder(len(ROWS), 8, seed=1)
    on_cpu, on_gpu = (
        pipeline_for(DataPlacement(arrays, processor=processor), order).dataset.take(5)
        for processor in (Cpu(), GpuOnTheCpu())
    )
    assert copied == [("CPU:0", 2)]
    for batch, same in zip(on_cpu.as_numpy_iterator(), iter(on_gpu), strict=True):
        assert all(np.array_equal(part, other) for part, other in zip(batch, same, strict=True))


def test_what_a_strategy_distributes_stays_in_the_memory_of_the_machine(copied: list[tuple[str, int]]) -> None:
    placement = DataPlacement(as_keras_sees_them(MADE["keys"], None), processor=GpuOnTheCpu())
    pipeline_for(placement, ExampleOrder(len(ROWS), 8, seed=1), distributed=True)
    assert not copied


def test_text_stays_in_the_memory_of_the_machine(copied: list[tuple[str, int]]) -> None:
    batches = tf.data.Dataset.from_tensors({"word": tf.constant(["a"]), "number": tf.constant([1.0])})
    assert len(list(made_ahead(batches, GpuOnTheCpu()))) == 1
    assert not copied
