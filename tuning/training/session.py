"""TrainingSession: everything a worker keeps between trials, and the one place where trials are trained."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from search_spaces.data import Arrays, Data
from tuning.training.arrays import TrainingArrays, as_keras_sees_them
from tuning.training.callbacks import copies_for_trial, hooks_batches
from tuning.training.clock import TrainingClock
from tuning.training.description import describe_model
from tuning.training.epoch_reporter import EpochReporter
from tuning.training.failures import status_of_error, traceback_tail
from tuning.training.fit_options import read_fit_options
from tuning.training.fit_plan import FitPlan
from tuning.training.keras_loop import keras_plan
from tuning.training.memory import MemoryMeter
from tuning.training.model_builder import ModelBuilder, ModelError
from tuning.training.order import ExampleOrder
from tuning.training.placement import on_device
from tuning.trial import DescribeRequest, EpochReport, ModelDescription, TrialOutcome, TrialRequest


class TrainingSession:
    """Trains one trial after another on the same data.

    Nothing is checked at construction, so that what is wrong with the user's model, data or options becomes the
    outcome of a request rather than the death of a worker.

    Args:
        hypermodel: A `keras_tuner.HyperModel`, `build_model(hp)` or `build_model()`.
        data: What every trial trains and validates on.
        callbacks: The user's Keras callbacks, deep-copied for every trial.
        fit_options: Further arguments of Keras's `fit`, see `read_fit_options`.
    """

    def __init__(
        self,
        hypermodel: Any,
        data: Data,
        *,
        callbacks: Sequence[Any] = (),
        fit_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._builder = ModelBuilder(hypermodel)
        self._data = data
        self._callbacks = tuple(callbacks)
        self._fit_options = fit_options
        self._arrays: TrainingArrays | None = None
        self._host_arrays: tuple[Arrays, ...] | None = None

    def describe(self, request: DescribeRequest) -> ModelDescription | TrialOutcome:
        """What the build function builds, or a failed outcome that says why it builds nothing usable."""
        try:
            return describe_model(self._builder, self._checked_arrays(), request)
        except Exception as error:
            return _failed(request.trial_id, error)
        finally:
            self._builder.restore_policy()

    def train(self, request: TrialRequest, report: Callable[[EpochReport], bool]) -> TrialOutcome:
        """Train one trial.

        Never raises for a failure of the trial, which is told by the outcome; KeyboardInterrupt and SystemExit pass.

        Args:
            request: The trial.
            report: Told every epoch; returns False to stop the trial, which then ends as pruned.
        """
        try:
            return self._train(request, report)
        except Exception as error:
            return _failed(request.trial_id, error)
        finally:
            self._builder.restore_policy()

    def _train(self, request: TrialRequest, report: Callable[[EpochReport], bool]) -> TrialOutcome:
        arrays = self._checked_arrays()
        order = ExampleOrder(arrays.n_train, request.batch_size, request.seed)
        callbacks = copies_for_trial(self._callbacks, request.trial_id)
        memory = MemoryMeter()
        plan = self._plan(request, order, counts_gaps=not hooks_batches(callbacks))
        reporter = EpochReporter(request, order, plan.clock, report)
        plan.model.fit(**plan.arguments, epochs=request.epochs, callbacks=[*callbacks, reporter], verbose=0)
        outcome = _outcome(request, plan, reporter, memory.peak_bytes())
        _save_weights(plan.model, request.weights_path)
        return outcome

    def _plan(self, request: TrialRequest, order: ExampleOrder, *, counts_gaps: bool) -> FitPlan:
        model = self._builder.build_for(request)
        clock = TrainingClock(counts_gaps=counts_gaps)
        return keras_plan(model, self._checked_arrays(), self._on_host(), order, request.evaluation_batch_size, clock)

    def _checked_arrays(self) -> TrainingArrays:
        options = read_fit_options(self._fit_options)
        if self._arrays is None:
            self._arrays = as_keras_sees_them(self._data, options.class_weight)
        return self._arrays

    def _on_host(self) -> tuple[Arrays, ...]:
        if self._host_arrays is None:
            self._host_arrays = on_device(self._checked_arrays().train, "CPU:0")
        return self._host_arrays


def _outcome(request: TrialRequest, plan: FitPlan, reporter: EpochReporter, peak_memory_bytes: int) -> TrialOutcome:
    per_update = plan.clock.seconds_per_update
    return TrialOutcome(
        trial_id=request.trial_id,
        status=reporter.status,
        reason=reporter.reason,
        seconds=plan.clock.seconds if per_update else None,
        compile_seconds=plan.compile_seconds + (plan.clock.compile_seconds or 0.0),
        examples_per_second=request.batch_size / per_update if per_update else None,
        peak_memory_bytes=peak_memory_bytes,
        loop=plan.loop,
        measurements=plan.measurements,
        settings={**plan.settings, "epochs_trained": reporter.epochs},
    )


def _save_weights(model: keras.Model, path: str | None) -> None:
    if path is not None:
        with warnings.catch_warnings():
            # keras 3.15.1 converts variables by np.array(variable), which numpy 2 deprecates
            warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
            model.save_weights(path)


def _failed(trial_id: str, error: Exception) -> TrialOutcome:
    status, reason = status_of_error(error)
    if isinstance(error, ModelError):
        reason = str(error)
    return TrialOutcome(trial_id=trial_id, status=status, reason=reason, log_tail=traceback_tail(error))
