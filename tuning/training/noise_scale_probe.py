"""The gradient noise scale along a short training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tuning.probes import NoiseScaleRequest, NoiseScales
from tuning.training.arrays import TrainingArrays
from tuning.training.fit_plan import FitPlan
from tuning.training.noise_scale_callback import NoiseScaleCallback
from tuning.training.order import ExampleOrder
from tuning.trial import TrialRequest

MakePlan = Callable[[TrialRequest, ExampleOrder], FitPlan]


def probe_noise_scale(make_plan: MakePlan, arrays: TrainingArrays, request: NoiseScaleRequest) -> NoiseScales:
    """Train plain Keras for so many updates, measuring on the way; nothing is validated.

    Args:
        make_plan: Plans a training on an order of examples.
        arrays: What is trained on.
        request: What to measure.

    Raises:
        Exception: Whatever building or training raises; see `status_of_error`.
    """
    order = ExampleOrder(arrays.n_train, request.batch_size, request.seed)
    epochs = -(-request.updates // order.least_updates)
    training = TrialRequest(
        request.trial_id,
        request.batch_size,
        seed=request.seed,
        epochs=epochs,
        learning_rate=request.learning_rate,
        hyperparameters=request.hyperparameters,
        loop="keras",
        evaluation_batch_size=request.evaluation_batch_size,
    )
    plan = make_plan(training, order)
    if not plan.model.built:
        plan.model(*_one_example(arrays))
    probe = NoiseScaleCallback(
        *arrays.train,
        fractions=request.fractions,
        updates=request.updates,
        batch_size=request.batch_size,
        examples=request.examples,
        micro_batch_size=request.micro_batch_size,
        seed=request.seed,
    )
    arguments = {name: value for name, value in plan.arguments.items() if not name.startswith("validation")}
    plan.model.fit(**arguments, epochs=epochs, callbacks=[probe, _StopAfter(request.updates)], verbose=0)
    return NoiseScales(request.trial_id, tuple(probe.points))


class _StopAfter(keras.callbacks.Callback):
    """Ends a training after so many updates."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self._updates = updates

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        if int(self.model.optimizer.iterations) >= self._updates:
            self.model.stop_training = True


def _one_example(arrays: TrainingArrays) -> tuple[Any, ...]:
    return arrays.training_examples(1)[:1]
