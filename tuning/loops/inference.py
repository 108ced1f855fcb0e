"""What one call of a model's compiled predict step costs: seconds from host memory to host memory, and memory."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from search_spaces.data import Arrays, leaves, map_arrays
from search_spaces.space import Setting, as_pairs
from tuning.instructions import Budget
from tuning.loops.arrays import device_dtype
from tuning.loops.processor import counted_peak, this_processor
from tuning.messages import LEAST_CALLS_FOR_P95, Inference, InferenceRequest
from tuning.trial import Trial

_WARM_UP_CALLS = 3  # tracing, compiling, and the first steps of allocators

DIFFERENT_BATCHES = 8
"""The most batches that calls take turns with, so that not every call finds its input in the processor's cache."""


def measure_inference(
    build: Callable[[Trial], keras.Model],
    inputs: Arrays,
    request: InferenceRequest,
    now: Callable[[], float] = time.perf_counter,
) -> Inference:
    """Time calls of `model.predict_on_batch` on a model that has seen no other batch size.

    A call begins with NumPy arrays in host memory, in Keras's float type, and ends with NumPy arrays in host memory.
    It pays for handing the inputs over, for the compiled predict step and for fetching the outputs; on a GPU the last
    waits for the device. `model.predict` pays for an input pipeline and callbacks besides.

    The model is built afresh, because Keras relaxes a predict function that sees a second batch size to any. Its
    weights are the initial ones: what a call costs does not depend on them.

    Args:
        build: Builds the model of a trial.
        inputs: Arrays, nested in tuples and dicts, with examples along the first axis; perhaps memory maps.
        request: What to measure.
        now: The clock, in seconds.

    Raises:
        Exception: Whatever building or predicting raises; see `status_of_error`.
    """
    model = build(_trial_of(request))
    batches = itertools.cycle(batches_of(inputs, request.batch_size))
    processor = this_processor()
    processor.reset_peak()
    for batch in itertools.islice(batches, _WARM_UP_CALLS):
        model.predict_on_batch(batch)
    seconds = time_calls(model.predict_on_batch, batches, request, now)
    return Inference(
        request.trial_id,
        request.batch_size,
        calls=len(seconds),
        seconds=sum(seconds),
        latency_p50_s=percentile(seconds, 50),
        latency_p95_s=percentile(seconds, 95) if len(seconds) >= LEAST_CALLS_FOR_P95 else None,
        peak_memory_bytes=counted_peak(processor),
    )


def batches_of(inputs: Arrays, batch_size: int) -> list[Arrays]:
    """Return up to eight different batches in host memory, in the structure of the inputs.

    One batch follows the other through the examples, and from the last example on through the first ones again. There
    are no more batches than the examples fill, and at least one.

    Args:
        inputs: Arrays, nested in tuples and dicts, with examples along the first axis.
        batch_size: Examples per batch.
    """
    examples = len(next(leaves(inputs)))
    count = max(1, min(DIFFERENT_BATCHES, examples // batch_size))
    return [_batch(inputs, np.arange(first, first + batch_size) % examples) for first in _starts(count, batch_size)]


def _starts(count: int, batch_size: int) -> range:
    return range(0, count * batch_size, batch_size)


def _batch(inputs: Arrays, rows: Any) -> Arrays:
    return map_arrays(lambda leaf: np.asarray(leaf[rows], device_dtype(leaf)), inputs)


def time_calls(
    call: Callable[[Arrays], Any], batches: Iterator[Arrays], request: InferenceRequest, now: Callable[[], float]
) -> list[float]:
    """Return the seconds of each call: as many calls as the request says, and one at least.

    Args:
        call: Takes a batch, and returns when the outputs are there.
        batches: As many as are asked for.
        request: How many calls, and how long.
        now: The clock, in seconds.
    """
    seconds: list[float] = []
    total = 0.0
    while not seconds or not _is_enough(len(seconds), total, request):
        batch = next(batches)
        begin = now()
        call(batch)
        seconds.append(now() - begin)
        total += seconds[-1]
    return seconds


def _is_enough(calls: int, seconds: float, request: InferenceRequest) -> bool:
    if seconds >= request.most_seconds:
        return True
    return calls >= request.least_calls and seconds >= request.least_seconds


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest of the values that at least `percent` % of them do not exceed: one that was measured.

    >>> percentile([5.0, 1.0, 2.0, 4.0, 3.0], 50)
    3.0
    """
    return sorted(values)[max(1, math.ceil(percent * len(values) / 100)) - 1]


def _trial_of(request: InferenceRequest) -> Trial:
    """Return the trial for which the model is built; nobody trains it."""
    setting = Setting(request.batch_size, None, as_pairs(request.hyperparameters))
    return Trial(setting, seed=0, budget=Budget(1), trial_id=request.trial_id)
