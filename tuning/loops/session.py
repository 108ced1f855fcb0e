"""TrainingSession: everything a worker keeps between trials, and the one place where trials are trained."""

from __future__ import annotations

import functools
import gc
import os
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from search_spaces.data import DataError
from search_spaces.stream import Stream, TrainingData
from tuning.loops.arrays import DataPlacement, TrainingArrays, as_keras_sees_them
from tuning.loops.autologging import without_autologging
from tuning.loops.branching import probe_branches
from tuning.loops.broken_example import broken_example
from tuning.loops.callbacks import TrainingClock
from tuning.loops.description import describe_model
from tuning.loops.ending import go_on_from, keep_ending, why_it_cannot_go_on
from tuning.loops.energy import EnergyMeter, energy_meter_here
from tuning.loops.energy_windows import EnergyWindows, measure_idle_watts
from tuning.loops.failures import status_of_error, traceback_tail
from tuning.loops.fit_options import read_fit_options
from tuning.loops.fit_plan import FitPlan, training_to_measure
from tuning.loops.inference import DIFFERENT_BATCHES, measure_inference
from tuning.loops.model_builder import ModelBuilder, ModelError
from tuning.loops.noise_scale_probe import probe_noise_scale
from tuning.loops.order import ExampleOrder
from tuning.loops.own_fit import FitCall, OwnFit
from tuning.loops.planner import Planner
from tuning.loops.replicas import Replicas
from tuning.loops.state_file import NOT_KEPT, state_file
from tuning.loops.tensorflow_private import CustomGradients
from tuning.loops.throughput import ChunkClock, InputTimes, input_seconds_alone, measure, probe_memory
from tuning.loops.training import Training
from tuning.loops.user_callbacks import copies_for_trial
from tuning.messages import (
    DescribeRequest,
    Inference,
    InferenceRequest,
    MemoryProbe,
    MemoryProbeRequest,
    ModelDescription,
    Throughput,
    ThroughputRequest,
)
from tuning.noise_messages import Branches, BranchRequest, NoiseScaleRequest, NoiseScales
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

_TRIALS_PER_COLLECTION = 10


class TrainingSession:
    """Trains one trial after another on the same data.

    Nothing is checked at construction, so that what is wrong with the user's model, data or options becomes the
    outcome of a request rather than the death of a worker.

    Args:
        hypermodel: A `keras_tuner.HyperModel`, `build_model(hp)` or `build_model()`.
        data: What every trial trains and validates on.
        callbacks: The user's Keras callbacks, deep-copied for every trial.
        fit_options: Further arguments of Keras's `fit`, see `read_fit_options`.
        weights_directory: Where final weights are saved, `TRIAL_ID.weights.h5`, and states, of trials that are to keep
            them; None saves none.
        energy: Finds the meter of this device's energy; asked when the first trial comes.
        replicas: The cards on which each trial trains; None for one.
    """

    def __init__(
        self,
        hypermodel: Any,
        data: TrainingData,
        *,
        callbacks: Sequence[Any] = (),
        fit_options: Mapping[str, Any] | None = None,
        weights_directory: Path | None = None,
        energy: Callable[[], EnergyMeter] = energy_meter_here,
        replicas: Replicas | None = None,
    ) -> None:
        self._builder = ModelBuilder(hypermodel, replicas)
        self._on_one_card = ModelBuilder(hypermodel)
        self._data = data
        self._callbacks = tuple(callbacks)
        self._fit_options = fit_options
        self._weights_directory = weights_directory
        self._find_meter = energy
        self._trials = 0
        self._input_times = InputTimes()
        self._gradients = CustomGradients()

    @without_autologging()
    def describe(self, request: DescribeRequest) -> ModelDescription | TrialOutcome:
        """Return what the build function builds, or a failed outcome that says why it builds nothing usable."""
        try:
            own = self._own_fit if self._builder.has_own_fit else None
            data = None if isinstance(self._data, Stream) else self._data
            return describe_model(self._builder, self._arrays, request, own_fit=own, data=data)
        except Exception as error:
            return _failed(request.trial_id, error)
        finally:
            self._builder.restore_policy()

    @without_autologging()
    def train(self, trial: Trial, report: Callable[[EpochReport], bool]) -> TrialOutcome:
        """Train one trial.

        Never raises for a failure of the trial, which is told by the outcome; KeyboardInterrupt and SystemExit pass.

        Args:
            trial: What to train, and how.
            report: Told every epoch; returns False to stop the trial, which then ends as pruned.
        """
        try:
            return self._train(trial, report)
        except Exception as error:
            if "_planner" in self.__dict__:
                self._planner.clear()
            return self._naming_the_example(trial, _failed(trial.trial_id, error), error)
        finally:
            self._clean_up()

    @without_autologging()
    def probe(
        self, request: MemoryProbeRequest | ThroughputRequest | NoiseScaleRequest | BranchRequest | InferenceRequest
    ) -> MemoryProbe | Throughput | NoiseScales | Branches | Inference | TrialOutcome:
        """Measure what is asked for, apart from any trial; a failure is told as by `train`."""
        try:
            if isinstance(request, InferenceRequest):
                return measure_inference(self._on_one_card.build_for, self._inputs_for(request.batch_size), request)
            if isinstance(request, ThroughputRequest):
                return self._probe_throughput(request)
            if isinstance(request, NoiseScaleRequest):
                return probe_noise_scale(self._plan_on_one_card, self._arrays, request)
            if isinstance(request, BranchRequest):
                return probe_branches(self._plan_unwatched, self._arrays, request)
            return probe_memory(self._plan_unwatched, self._data.epoch_length, request)
        except Exception as error:
            if "_planner" in self.__dict__:
                self._planner.clear()
            return _failed(request.trial_id, error)
        finally:
            self._clean_up()

    def _naming_the_example(self, trial: Trial, outcome: TrialOutcome, error: Exception) -> TrialOutcome:
        """Return the outcome with the example in its reason, where TensorFlow failed on one that cannot be loaded."""
        arrays = self.__dict__.get("_arrays")
        if arrays is None or arrays.loader is None or not isinstance(error, tf.errors.OpError):
            return outcome
        if outcome.status is Status.FAILED and (example := broken_example(arrays, trial.seed)):
            return replace(outcome, reason=f"{outcome.reason.rstrip('.')}. It is raised by {example}.")
        return outcome

    def _plan_unwatched(self, trial: Trial, order: ExampleOrder) -> FitPlan:
        return self._planner.plan(trial, order, TrainingClock(counts_gaps=True))

    def _plan_on_one_card(self, trial: Trial, order: ExampleOrder) -> FitPlan:
        planner = self._planner
        if self._builder.replicas.cards > 1:  # the noise scale is the model's and the data's, whatever trains
            planner = Planner(self._on_one_card, self._arrays, self._placement)
        return planner.plan(trial, order, TrainingClock(counts_gaps=True))

    def _inputs_for(self, batch_size: int) -> Any:
        """Return validation inputs for batches of a size: all of them, or as many as are loaded for different ones."""
        if self._arrays.hold_examples:
            return self._arrays.validation[0]
        return self._arrays.validation_examples(DIFFERENT_BATCHES * batch_size)[0]

    def _probe_throughput(self, request: ThroughputRequest) -> Throughput:
        """Time chunks of training, without validation, after a warm-up.

        Plain `fit` (the loop "keras") includes Keras's bookkeeping between steps, so that it is what a user gets.
        """
        training = training_to_measure(request, request.epochs, loop=request.loop)
        order = ExampleOrder(self._data.epoch_length, request.batch_size, training.seed)
        clock = ChunkClock(request.chunks, request.chunk_seconds)
        plan = self._planner.plan_timing(training, order, clock)
        chunks = measure(plan, clock)
        self._planner.finish()
        compiling = 1 / (os.cpu_count() or 1) if plan.is_disturbed else 0.0
        return Throughput(
            request.trial_id,
            request.batch_size,
            plan.loop,
            statistics.median(chunks.seconds_per_update),
            input_seconds_alone(plan.pipeline) if plan.pipeline is not None and request.times_input else None,
            repeats=chunks.seconds_per_update,
            wall_seconds=chunks.wall_s,
            cpu_seconds=chunks.cpu_s,
            others_share=max(chunks.others_share or 0.0, compiling) if plan.is_disturbed else chunks.others_share,
        )

    def _train(self, trial: Trial, report: Callable[[EpochReport], bool]) -> TrialOutcome:
        self._builder.replicas.check(trial.batch_size)
        rate_factor = trial.instructions.scaling.rate_factor(trial.learning_rate)
        callbacks = copies_for_trial(self._callbacks, trial.trial_id, rate_factor)
        if self._builder.has_own_fit:
            plan_for = functools.partial(self._plan_given, trial)
            outcome, model = self._own_fit.train(trial, callbacks, report, plan_for, self._energy_windows())
            self._keep_weights(trial, model)
            return _not_kept(trial, outcome, "HyperModel.fit trains it")
        size = trial.instructions.micro_batch_size or trial.batch_size
        order = ExampleOrder(self._data.epoch_length, size, trial.seed, epochs_before=trial.epochs_before)
        reports = list(trial.reports)

        def keep_and_report(told: EpochReport) -> bool:
            reports.append(told)
            return report(told)

        training = Training(
            trial,
            callbacks,
            keep_and_report,
            self._energy_windows(),
            gradients_before=order.updates_before,
        )
        plan = self._planner.plan(trial, order, training.clock)
        plan = self._input_times.told(plan, order.updates_after(trial.budget.epochs - trial.epochs_before))
        if trial.epochs_before:
            go_on_from(self._state_file(trial.instructions.continues), plan.model, self._arrays)
        outcome = training.run(plan)
        self._keep_weights(trial, plan.model)
        if trial.instructions.keep_state and training.has_ended_whole:
            outcome = self._keep_state(replace(trial, reports=tuple(reports)), plan.model, outcome)
        self._planner.finish()
        return outcome

    def _keep_state(self, trial: Trial, model: keras.Model, outcome: TrialOutcome) -> TrialOutcome:
        """Save all that a longer training needs to go on, and return the outcome, which tells why if nothing can be."""
        proven = self._planner.has_proven_program
        reason = why_it_cannot_go_on(model, self._arrays, self._callbacks, is_proven=proven)
        if not reason:
            keep_ending(self._state_file(trial.trial_id), trial, model)
        return _not_kept(trial, outcome, reason)

    def _state_file(self, trial_id: str) -> Path:
        if self._weights_directory is None:
            raise ValueError("A state needs weights_directory, where it is kept; got none. Give it to the session.")
        return state_file(self._weights_directory, trial_id)

    def _keep_weights(self, trial: Trial, model: keras.Model) -> None:
        """Save the weights that a trial has ended with, if they are to be kept."""
        if trial.instructions.keep_weights and self._weights_directory is not None:
            self._weights_directory.mkdir(parents=True, exist_ok=True)
            _save_weights(model, self._weights_directory / f"{trial.trial_id}.weights.h5")

    def _plan_given(
        self, trial: Trial, call: FitCall, model: keras.Model, order: ExampleOrder, clock: TrainingClock
    ) -> FitPlan:
        """Plan the training of a model that the user's own `fit` holds, perhaps on data that it has changed."""
        if call.data is self._data and call.class_weight == read_fit_options(self._fit_options).class_weight:
            planner = self._planner
        else:
            planner = Planner(self._builder, as_keras_sees_them(call.data, call.class_weight))
        plan = planner.plan_given(model, trial, order, clock, call.callbacks)
        return self._input_times.told(plan, order.updates_after(trial.budget.epochs))

    def _energy_windows(self) -> EnergyWindows:
        meter, idle_watts = self._energy
        return EnergyWindows(meter, idle_watts)

    @functools.cached_property
    def _energy(self) -> tuple[EnergyMeter, float | None]:
        """The meter, and the power of a second before this worker's first training."""
        meter = self._find_meter()
        return meter, measure_idle_watts(meter)

    @functools.cached_property
    def _own_fit(self) -> OwnFit:
        if isinstance(self._data, Stream):
            raise ModelError(
                "A HyperModel.fit takes arrays; got a Stream. Leave fit out, and give its arguments to search()."
            )
        return OwnFit(self._builder, self._data, dict(self._fit_options or {}))

    @functools.cached_property
    def _arrays(self) -> TrainingArrays:
        return as_keras_sees_them(self._data, read_fit_options(self._fit_options).class_weight)

    @functools.cached_property
    def _planner(self) -> Planner:
        return Planner(self._builder, self._arrays, self._placement, self._callbacks)

    @functools.cached_property
    def _placement(self) -> DataPlacement:
        return DataPlacement(self._arrays)

    def _clean_up(self) -> None:
        """After a trial: forget its policy, and now and then the models that only refer to each other."""
        self._builder.restore_policy()
        self._trials += 1
        self._gradients.forget()
        if self._trials % _TRIALS_PER_COLLECTION == 0:
            gc.collect()


def _not_kept(trial: Trial, outcome: TrialOutcome, reason: str) -> TrialOutcome:
    """Return the outcome of a trial that was to keep its state, with the reason why it has not; empty if it has."""
    if not trial.instructions.keep_state or not reason:
        return outcome
    return replace(outcome, settings={**outcome.settings, NOT_KEPT: reason})


def _save_weights(model: keras.Model, path: Path) -> None:
    with warnings.catch_warnings():
        # keras 3.15.1 converts variables by np.array(variable), which numpy 2 deprecates
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        model.save_weights(str(path))


def _failed(trial_id: str, error: Exception) -> TrialOutcome:
    status, reason = status_of_error(error)
    if isinstance(error, (ModelError, DataError)):
        reason = str(error)
    return TrialOutcome(trial_id=trial_id, status=status, reason=reason, log_tail=traceback_tail(error))
