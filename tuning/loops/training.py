"""Training: one `fit` with its callbacks, its clock, its meters of memory and energy, and the outcome they tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from tuning.loops.callbacks import EpochReporter, Progress, TrainingClock, TrialCallbacks
from tuning.loops.energy_windows import EnergyUse, EnergyWindows
from tuning.loops.fit_plan import FitPlan
from tuning.loops.optimizers import scaled_constants
from tuning.loops.processor import this_processor
from tuning.loops.user_callbacks import acting_on_batches, restored_epoch
from tuning.trial import EpochReport, Status, Trial, TrialOutcome


class Training:
    """Watches one training, from before it is planned to its outcome.

    Args:
        trial: What is trained.
        callbacks: The user's, copied for this trial.
        report: Told every epoch; returns False to stop the trial.
        energy: Reads the energy of this training; None where nobody asks for it.
        gradients_before: Those of the training that this one goes on with.
    """

    def __init__(
        self,
        trial: Trial,
        callbacks: Sequence[keras.callbacks.Callback],
        report: Callable[[EpochReport], bool],
        energy: EnergyWindows | None = None,
        *,
        gradients_before: int = 0,
    ) -> None:
        self._trial, self._callbacks = trial, callbacks
        self._processor = this_processor()
        self._processor.reset_peak()
        self._watching = TrialCallbacks(callbacks)
        self._energy = energy
        self.clock = TrainingClock(
            counts_gaps=not acting_on_batches(callbacks),
            watching=self._watching,
            wait=self._processor.wait,
            energy=energy,
        )
        self._seconds_before = trial.reports[-1].seconds if trial.epochs_before else 0.0
        progress = _Continued(self.clock, gradients_before, self._seconds_before)
        self._reporter = EpochReporter(trial, progress, report)

    def run(self, plan: FitPlan) -> TrialOutcome:
        """Train as planned, and return the outcome."""
        trial = self._trial
        self._watching.attach(plan.model, trial, self._reporter, steps=plan.arguments["steps_per_epoch"])
        train = type(plan.model).fit  # the model's own attribute may be what is driven by this
        epochs = {"epochs": trial.budget.epochs, "initial_epoch": trial.epochs_before}
        train(plan.model, **plan.arguments, **epochs, callbacks=self._watching, verbose=0)
        outcome = outcome_of(
            trial,
            plan,
            self.clock,
            self._reporter,
            self._processor.peak_bytes(),
            restored_epoch(self._callbacks),
            self._used(),
        )
        return self._with_those_before(outcome) if trial.epochs_before else outcome

    @property
    def has_ended_whole(self) -> bool:
        """Whether it has trained all epochs of its budget, to a finite loss."""
        return self._reporter.status is Status.COMPLETED and self._reporter.epochs == self._trial.budget.epochs

    def _with_those_before(self, outcome: TrialOutcome) -> TrialOutcome:
        """Count the seconds of the epochs before; nobody knows their energy."""
        seconds = None if outcome.seconds is None else outcome.seconds + self._seconds_before
        note = "what its first epochs took, which another command trained, is not added"
        return replace(outcome, seconds=seconds, energy_joules=None, energy_note=outcome.energy_note or note)

    def _used(self) -> EnergyUse | None:
        micro = self._trial.instructions.micro_batch_size or self._trial.batch_size
        return None if self._energy is None else self._energy.use(self.clock.seconds, self.clock.updates * micro)


@dataclass(frozen=True)
class _Continued:
    """The progress of a training that goes on: what a clock tells, and what there was before."""

    clock: Progress
    updates_before: int
    seconds_before: float

    @property
    def updates(self) -> int:
        return self.updates_before + self.clock.updates

    @property
    def seconds(self) -> float:
        return self.seconds_before + self.clock.seconds


def outcome_of(
    trial: Trial,
    plan: FitPlan,
    clock: TrainingClock,
    reporter: EpochReporter,
    peak_memory_bytes: int | None,
    weights_epoch: int | None = None,
    energy: EnergyUse | None = None,
) -> TrialOutcome:
    """Return what a training measured as a whole.

    Args:
        trial: What was trained.
        plan: How.
        clock: Has timed it.
        reporter: Has told its epochs.
        peak_memory_bytes: From the meter.
        weights_epoch: The epoch whose weights it ended with; None for the last.
        energy: What it consumed; None where nobody asked for it.
    """
    per_step = clock.seconds_per_update  # of one gradient
    micro = trial.instructions.micro_batch_size
    settings: dict[str, Any] = {} if weights_epoch is None else {"weights_epoch": weights_epoch}
    used = energy or EnergyUse()
    if plan.is_disturbed:
        per_step, used = None, EnergyUse(note="XLA still compiled beside the training")
    return TrialOutcome(
        trial_id=trial.trial_id,
        status=reporter.status,
        reason=reporter.reason,
        seconds=clock.seconds if per_step else None,
        compile_seconds=plan.compile_seconds + (clock.compile_seconds or 0.0),
        examples_per_second=(micro or trial.batch_size) / per_step if per_step else None,
        peak_memory_bytes=peak_memory_bytes,
        loop=plan.loop,
        measurements={**plan.measurements, **used.measurements},
        energy_joules=used.joules,
        mean_watts=used.mean_watts,
        joules_per_example=used.joules_per_example,
        energy_note=used.note,
        weights_epoch=weights_epoch,
        settings={
            **plan.settings,
            **settings,
            **scaled_constants(plan.model, trial.instructions.scaling),
            "epochs_trained": reporter.epochs,
            "intra_op_threads": this_processor().threads,
            "micro_batch_size": micro,
            "throttled_by": used.throttled_by or None,
        },
    )
