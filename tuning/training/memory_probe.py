"""The peak memory of training at one batch size, learnt from a few updates and one validation."""

from __future__ import annotations

from collections.abc import Callable

from tuning.training.fit_plan import FitPlan
from tuning.training.memory import MemoryMeter
from tuning.training.order import ExampleOrder
from tuning.trial import MemoryProbe, MemoryProbeRequest, TrialRequest

MakePlan = Callable[[TrialRequest, ExampleOrder], FitPlan]


def probe_memory(make_plan: MakePlan, n_train: int, request: MemoryProbeRequest) -> MemoryProbe:
    """Train a few updates, so that the optimizer's slots exist, validate, and read the peak.

    The updates are those of one short epoch where the data suffice, of several otherwise. The peak is taken from
    after the data were placed and the model built, so that what placing them needed for a moment does not count.

    Args:
        make_plan: Plans a training on an order of examples.
        n_train: Training examples.
        request: What to probe.

    Raises:
        Exception: Whatever building or training raises; see `status_of_error`.
    """
    size = request.batch_size
    order = ExampleOrder(min(n_train, request.updates * size), size, seed=0)
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
    plan.model.fit(**plan.arguments, epochs=epochs, verbose=0)
    return MemoryProbe(request.trial_id, size, meter.peak_bytes(), baseline)
