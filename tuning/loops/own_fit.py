"""OwnFit: a `HyperModel.fit` of the user's own, as KerasTuner's users write it to tune how a model is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from search_spaces.data import Data
from tuning.loops.callbacks import EpochReporter, scalars
from tuning.loops.energy_windows import EnergyWindows
from tuning.loops.fit_plan import FitPlan
from tuning.loops.model_builder import BATCH_SIZE_NAME, ModelBuilder, ModelError
from tuning.loops.order import ExampleOrder
from tuning.loops.training import Training
from tuning.trial import EpochReport, Trial, TrialOutcome

OWN_LOOP = "own"
"""What the outcome of a training tells as its loop where `HyperModel.fit` never calls `model.fit`."""

_RETURNED = "default_objective"  # KerasTuner's name for a score that `fit` returns


@dataclass(frozen=True)
class FitCall:
    """One call of `model.fit` by the user's `fit`, as far as a search can honour it.

    Args:
        data: What it trains and validates on.
        callbacks: Those that it was given.
        batch_size: None where it leaves it to the trial.
        epochs: Passes over the training set.
        shuffled: Whether every epoch is in an order of its own.
        class_weight: Weight of each class in the training loss.
    """

    data: Data
    callbacks: tuple[Any, ...]
    batch_size: int | None
    epochs: int
    shuffled: bool
    class_weight: Mapping[int, float] | None = None


PlanFor = Callable[[FitCall, keras.Model, ExampleOrder, Any], FitPlan]
"""Plans what a call of `model.fit` is driven with: the model, the order of the examples, and the clock."""


class OwnFit:
    """Runs a `HyperModel.fit` in the worker, its `model.fit` driven with the search's order of examples and loops.

    A `fit` that trains by a loop of its own runs as it is; its epochs are those that it tells its callbacks.

    Args:
        builder: Builds the models, and has the `fit`.
        data: What the search was given.
        options: Further arguments of `fit` that the search was given, such as `class_weight`.
    """

    def __init__(self, builder: ModelBuilder, data: Data, options: Mapping[str, Any]) -> None:
        self._builder, self._data, self._options = builder, data, options

    def train(
        self,
        trial: Trial,
        callbacks: Sequence[keras.callbacks.Callback],
        report: Callable[[EpochReport], bool],
        plan_for: PlanFor,
        energy: EnergyWindows | None = None,
    ) -> tuple[TrialOutcome, keras.Model]:
        """Train one trial, and return its outcome and its model.

        Args:
            trial: What is trained.
            callbacks: The user's, copied.
            report: Told every epoch; returns False to stop the trial.
            plan_for: Plans what `model.fit` is driven with.
            energy: Reads the energy of a `model.fit` that is driven; None where nobody asks for it.

        Raises:
            ModelError: If `fit` trains at another batch size or for other epochs than its trial, or several times.
        """
        model = self._builder.build_for(trial)
        reporter = _OwnReporter(trial, self._data.n_train, report)
        outcomes: list[TrialOutcome] = []

        def driven(*args: Any, **kwargs: Any) -> Any:
            call = read_call(self._data, *args, **kwargs)
            call = replace(call, callbacks=tuple(each for each in call.callbacks if each is not reporter))
            _check(call, trial, again=bool(outcomes))
            training = Training(trial, call.callbacks, report, energy)
            size = trial.instructions.micro_batch_size or trial.batch_size
            order = ExampleOrder(call.data.n_train, size, trial.seed, shuffled=call.shuffled)
            outcomes.append(training.run(plan_for(call, model, order, training.clock)))
            return model.history

        reporter.set_model(model)
        returned = self._call(trial, model, driven, [*callbacks, reporter], trial.budget.epochs)
        return (outcomes[-1] if outcomes else reporter.outcome(returned)), model

    def describe(self, trial: Trial, model: keras.Model, data: Data) -> tuple[Any, tuple[str, ...] | None]:
        """Call `fit` on a few examples, to learn what it declares.

        Args:
            trial: A trial at the space's own values.
            model: Built for it.
            data: A few examples.

        Returns:
            The `keras_tuner.HyperParameters` with what it declared, and the metrics that a loop of its own tells; None
            where it calls `model.fit`, which is not run.
        """
        told: dict[str, float] = {}

        class Teller(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
                told.update(scalars(logs or {}))

        def driven(*_: Any, **__: Any) -> Any:
            raise _CalledFit

        hp, teller = self._builder.hyperparameters_for(trial), Teller()
        teller.set_model(model)
        few = OwnFit(self._builder, data, self._options)
        try:
            returned = few._call(trial, model, driven, [teller], 1, hp)
        except _CalledFit:
            return hp, None
        return hp, tuple(told or _returned(returned))

    def _call(
        self,
        trial: Trial,
        model: keras.Model,
        driven: Callable[..., Any],
        callbacks: list[Any],
        epochs: int,
        hp: Any = None,
    ) -> Any:
        """Call the user's `fit` as KerasTuner does, with what the search was given."""
        data, given = self._data, dict(self._options)
        if data.sample_weight_train is not None:
            given["sample_weight"] = data.sample_weight_train
        inputs = (data.x_train,) if data.y_train is None else (data.x_train, data.y_train)
        vars(model)["fit"] = driven
        try:
            return self._builder.hypermodel.fit(
                hp or self._builder.hyperparameters_for(trial),
                model,
                *inputs,
                validation_data=data.validation,
                epochs=epochs,
                callbacks=callbacks,
                verbose=0,
                **given,
            )
        finally:
            vars(model).pop("fit", None)


class _CalledFit(BaseException):  # no `except Exception` of the user's may catch it
    """Raised where a `fit` that is only looked at calls `model.fit`."""


class _OwnReporter(EpochReporter):
    """Reports the epochs that a loop of the user's own tells its callbacks.

    Args:
        trial: What is trained.
        n_train: Training examples, which every epoch is taken to pass over once.
        report: Told every epoch.
    """

    def __init__(self, trial: Trial, n_train: int, report: Callable[[EpochReport], bool]) -> None:
        self._own_clock = _OwnClock(n_train, trial.batch_size)
        self._own_trial = trial
        super().__init__(trial, self._own_clock, report)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._own_clock.end(epoch + 1)
        super().on_epoch_end(epoch, logs)

    def outcome(self, returned: Any) -> TrialOutcome:
        """Return the outcome, and report what `fit` returned where it has told no epoch."""
        trial, clock = self._own_trial, self._own_clock
        if not self.epochs:
            self.on_epoch_end(trial.budget.epochs - 1, _returned(returned))
        settings = {BATCH_SIZE_NAME: trial.batch_size, "epochs_trained": self.epochs}
        return TrialOutcome(
            trial.trial_id,
            self.status,
            self.reason,
            seconds=clock.seconds,
            loop=OWN_LOOP,
            settings=settings,
            energy_note="HyperModel.fit trains by a loop of its own, whose training cannot be told from the rest",
        )


class _OwnClock:
    """Tells the updates and the seconds of a loop that nobody drives: all the time, compiling included."""

    def __init__(self, n_train: int, batch_size: int) -> None:
        self._n_train, self._batch_size = n_train, batch_size
        self._begin = time.perf_counter()
        self.updates = 0

    def end(self, epochs: int) -> None:
        """Count an epoch."""
        self.updates = epochs * self._n_train // self._batch_size

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._begin


def read_call(
    own: Data,
    x: Any = None,
    y: Any = None,
    batch_size: Any = None,
    epochs: int = 1,
    verbose: Any = "auto",  # noqa: ARG001  (nothing is printed)
    callbacks: Any = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    class_weight: Any = None,
    sample_weight: Any = None,
    **more: Any,
) -> FitCall:
    """Read the arguments of `keras.Model.fit`; data that `fit` has changed are taken as they come.

    Args:
        own: What the search was given, for what is left out.

    Raises:
        ModelError: If an argument cannot be honoured in a search.
    """
    asked = {**more, "validation_split": validation_split or None}
    found = [name for name, value in asked.items() if value is not None]
    if found or hasattr(x, "element_spec"):
        raise ModelError(
            "HyperModel.fit may call model.fit with arrays, batch_size, epochs, callbacks, validation_data, shuffle or "
            f"weights; got {', '.join(found) or 'a dataset'}. Leave it out, or give it to search()."
        )
    validation = own.validation if validation_data is None else tuple(validation_data)
    x_val, y_val, weight_val = (*validation, None, None)[:3]
    given = {"x_train": x, "y_train": y, "x_val": x_val, "y_val": y_val}
    given |= {"sample_weight_train": sample_weight, "sample_weight_val": weight_val}
    is_own = all(part is own.parts()[name] for name, part in given.items())
    if own.load is not None and not is_own:
        raise ModelError(
            "HyperModel.fit must hand on data with load as it is given them; got others. Change the examples in load."
        )
    data = own if is_own else Data(**given)
    size = None if batch_size is None else int(batch_size)
    return FitCall(data, tuple(callbacks or ()), size, int(epochs), bool(shuffle), class_weight)


def _check(call: FitCall, trial: Trial, *, again: bool) -> None:
    if again:
        raise ModelError("HyperModel.fit must call model.fit once in a trial; got a second call. Train in one go.")
    if call.batch_size not in (None, trial.batch_size):
        raise ModelError(
            f"HyperModel.fit must train with the batch size of its trial, {trial.batch_size}; got {call.batch_size}. "
            'Take it from hp.Choice("batch_size", [...]), or leave batch_size out of model.fit.'
        )
    if call.epochs != trial.budget.epochs:
        raise ModelError(
            f"HyperModel.fit must train for the epochs of its trial, {trial.budget.epochs}; got {call.epochs}. Hand on "
            "the epochs that it is given."
        )


def _returned(value: Any) -> dict[str, float]:
    """Return what a `fit` returned as metrics, as KerasTuner reads it: a number, a dict, or a `History`."""
    if isinstance(value, keras.callbacks.History):
        return scalars({name: values[-1] for name, values in value.history.items()})
    if isinstance(value, Mapping):
        return scalars(value)
    try:
        return {_RETURNED: float(value)}
    except (TypeError, ValueError):
        raise ModelError(
            f"HyperModel.fit must call model.fit, tell callbacks its epochs, or return a score; got {value!r:.60}. "
            "Return what model.fit returns."
        ) from None
