"""The peak memory of training at one batch size, learnt from a few updates and one validation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras

from tuning.probes import MemoryProbe, MemoryProbeRequest
from tuning.training.fit_plan import FitPlan
from tuning.training.memory import MemoryMeter
from tuning.training.order import ExampleOrder
from tuning.trial import TrialRequest

MakePlan = Callable[[TrialRequest, ExampleOrder], FitPlan]

_BATCHES_AHEAD = 16  # more than an input pipeline ever holds ready
_LEAST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0


def probe_memory(make_plan: MakePlan, n_train: int, request: MemoryProbeRequest) -> MemoryProbe:
    """Train a few updates, so that the optimizer's slots exist, validate, and read the peak.

    The peak is taken from after the data were placed and the model built, so that what placing them needed for a
    moment does not count. The input pipeline is given time to fill before the last update: it may hold several
    batches, and how many it has made after so few updates is chance (measured: 7 % of the peak of a small CNN).

    Args:
        make_plan: Plans a training on an order of examples.
        n_train: Training examples.
        request: What to probe.

    Raises:
        Exception: Whatever building or training raises; see `status_of_error`.
    """
    size = request.batch_size
    order = ExampleOrder(min(n_train, _BATCHES_AHEAD * size), size, seed=0)
    epochs = -(-request.updates // order.least_updates)
    training = TrialRequest(
        request.trial_id,
        size,
        seed=0,
        epochs=epochs,
        hyperparameters=request.hyperparameters,
        loop=request.loop,
        evaluation_batch_size=request.evaluation_batch_size,
    )
    plan = make_plan(training, order)
    meter = MemoryMeter()
    baseline = meter.peak_bytes()
    plan.model.fit(**plan.arguments, epochs=epochs, callbacks=[_FewUpdates(request.updates)], verbose=0)
    peak = max(baseline, meter.peak_bytes())  # Linux's own count may fall by a few pages
    return MemoryProbe(request.trial_id, size, peak, baseline)


class _FewUpdates(keras.callbacks.Callback):
    """Waits before the last update for about as long as the one before it took, and ends the training after it."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self._left = updates
        self._begin = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        took = time.perf_counter() - self._begin
        if self._left == 1:
            time.sleep(min(_LONGEST_WAIT_S, max(_LEAST_WAIT_S, took)))
        self._begin = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        self._left -= 1
        if self._left <= 0:
            self.model.stop_training = True
