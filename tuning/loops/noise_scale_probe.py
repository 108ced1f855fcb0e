"""A Keras callback that measures the gradient noise scale at chosen fractions of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from search_spaces.data import Arrays
from tuning.loops.arrays import TrainingArrays
from tuning.loops.fit_plan import MakePlan, training_to_measure
from tuning.loops.loop import KERAS
from tuning.loops.model_builder import ModelError
from tuning.loops.noise_scale import BatchOf, FrozenGradients
from tuning.loops.order import ExampleOrder
from tuning.noise_messages import NoiseScalePoint, NoiseScaleRequest, NoiseScales

FRACTIONS = (0.0, 0.25, 0.5, 1.0)


class NoiseScaleCallback(keras.callbacks.Callback):
    """Freezes the weights now and then and measures the noise scale, changing nothing of the training.

    Its values are added to the logs of the epoch in which they were measured, as `noise_scale`, so that they are
    recorded as a metric; all of them are in `points`. Progress is counted in optimizer updates. Under the device
    loops, where callbacks run between blocks of updates, the moments are those of the nearest block's end.

    Args:
        x: Training inputs.
        y: Training targets.
        sample_weight: One per example, or None.
        fractions: Shares of the training, ascending from 0 to 1.
        updates: Updates of the whole training; None for what `fit` announces.
        batch_size: Examples per update, to tell examples from updates; None to count updates only.
        examples: n, drawn without replacement for each measurement.
        micro_batch_size: b, examples per gradient.
        seed: Fixes what is drawn.
        batch_of: Returns the examples of some rows, where `x` and `y` hold their keys; None where they hold examples.
        n_train: Examples that are drawn from; None for as many as `x` has.

    Raises:
        ValueError: If a fraction is not between 0 and 1.
    """

    def __init__(
        self,
        x: Arrays,
        y: Arrays,
        sample_weight: Arrays = None,
        *,
        fractions: Sequence[float] = FRACTIONS,
        updates: int | None = None,
        batch_size: int | None = None,
        examples: int = 4096,
        micro_batch_size: int = 32,
        seed: int = 0,
        batch_of: BatchOf | None = None,
        n_train: int | None = None,
    ) -> None:
        super().__init__()
        if not fractions or any(not 0 <= fraction <= 1 for fraction in fractions):
            raise ValueError(f"Fractions of a training must lie between 0 and 1; got {tuple(fractions)}.")
        self.points: list[NoiseScalePoint] = []
        self._train = (x, y) if sample_weight is None else (x, y, sample_weight)
        self._fractions = sorted(fractions)
        self._updates = updates
        self._batch_size = batch_size or 1
        self._sampling: dict[str, Any] = {"examples": examples, "micro_batch_size": micro_batch_size, "seed": seed}
        self._sampling |= {"batch_of": batch_of, "n_train": n_train}
        self._gradients: FrozenGradients | None = None
        self._due: list[int] = []
        self._new: list[float] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> NoiseScaleCallback:
        """Return a copy with a fresh state on the same arrays, which every trial shares."""
        return NoiseScaleCallback(
            *self._train,
            fractions=self._fractions,
            updates=self._updates,
            batch_size=self._batch_size,
            **self._sampling,
        )

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        total = self._updates or self.params["epochs"] * (self.params["steps"] or 1)
        self._due = [round(fraction * total) for fraction in self._fractions]
        self.points, self._new = [], []
        self._measure_if_due()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        self._measure_if_due()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002  (Keras's)
        if self._new and logs is not None:
            logs["noise_scale"] = self._new[-1]
        self._new = []

    def _measure_if_due(self) -> None:
        done = int(np.asarray(self.model.optimizer.iterations.value.numpy()))
        if not self._due or done < self._due[0]:
            return
        self._due = [update for update in self._due if update > done]
        if self._gradients is None:
            self._gradients = FrozenGradients(self.model, self._train, **self._sampling)
        found = self._gradients.measure()
        self.points.append(
            NoiseScalePoint(
                at_examples=done * self._batch_size,
                value=found.value,
                low=found.low,
                high=found.high,
                trace_of_covariance=found.trace_of_covariance,
                squared_gradient_norm=found.squared_gradient_norm,
            )
        )
        if found.value is not None:
            self._new.append(found.value)


def probe_noise_scale(make_plan: MakePlan, arrays: TrainingArrays, request: NoiseScaleRequest) -> NoiseScales:
    """Train plain Keras for so many updates, measuring on the way; nothing is validated.

    Args:
        make_plan: Plans a training on an order of examples.
        arrays: What is trained on.
        request: What to measure.

    Raises:
        Exception: Whatever building or training raises; see `status_of_error`.
    """
    if arrays.parts == 1:
        raise ModelError("it is measured by the compiled loss on targets, and these data have none")
    order = ExampleOrder(arrays.n_train, request.batch_size, request.seed)
    epochs = -(-request.updates // order.least_updates)
    training = training_to_measure(request, epochs, loop=KERAS, seed=request.seed, learning_rate=request.learning_rate)
    plan = make_plan(training, order)
    if not plan.model.built:
        plan.model(*_one_example(arrays))
    probe = NoiseScaleCallback(
        *(*arrays.train, None, None)[: max(2, len(arrays.train))],
        fractions=request.fractions,
        updates=request.updates,
        batch_size=request.batch_size,
        examples=request.examples,
        micro_batch_size=request.micro_batch_size,
        seed=request.seed,
        batch_of=None if arrays.hold_examples else arrays.training_batch,
        n_train=None if arrays.stream is None else arrays.stream.n_train,
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
