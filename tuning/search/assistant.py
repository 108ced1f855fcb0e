"""SearchAssistant: tells workers how to train each trial, measures what a plan needs, and keeps the best weights."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuning.instructions import Instructions
from tuning.loops.loop import AUTO
from tuning.loops.state_file import holds_state, state_file
from tuning.machine.machine import Machine
from tuning.machine.measuring import with_noise, with_threads, with_timings, with_timings_again
from tuning.machine.noise import GradientNoise
from tuning.machine.threads import ThreadChoice
from tuning.machine.throughput import ThroughputFindings
from tuning.messages import Measurement
from tuning.objective import Objective
from tuning.plans.plan import MeasureNoise, Plan, ShareOut, Wish
from tuning.record.tracker import Tracker
from tuning.run.executor import Executor
from tuning.search.early_imports import EarlyImports
from tuning.search.preparation import Setup
from tuning.search.side_by_side import divide
from tuning.study.study import Study
from tuning.trial import Hyperparameters, Trial


class SearchAssistant:
    """Does what a search's loop leaves to others.

    Args:
        study: The record.
        plan: What is tried; it tells people what is ahead after a measurement.
        setup: What is known before the first trial.
        executor: Measures, when all its devices are idle.
        tracker: Shows measurements.
        instructions: The instructions of every trial, but for what follows the batch size.
        imports: Loads what the answer needs once trials train.
        places: How many trials may run beside one another, where a plan wishes to share the CPU out.
        checkpoints: Which weights stay on disk.
        states: Where the states lie from which trainings can go on; None where workers cannot read them.
        tell: Told what is going on, a line at a time.
    """

    def __init__(
        self,
        study: Study,
        plan: Plan,
        setup: Setup,
        *,
        executor: Executor,
        tracker: Tracker,
        instructions: Instructions,
        imports: EarlyImports,
        places: int,
        checkpoints: Checkpoints,
        states: Path | None,
        tell: Callable[[str], None],
    ) -> None:
        self._study, self._plan, self._setup = study, plan, setup
        self._executor, self._tracker, self._tell = executor, tracker, tell
        self._usual, self._places, self._checkpoints = instructions, places, checkpoints
        self._imports, self._states = imports, states
        self._loops: dict[tuple[int, Hyperparameters], str] = {}
        for trial in study.records:
            self._learn_loop(trial)

    def instruct(self, trial: Trial) -> Trial:
        """Return a trial, about to start, with the instructions that its worker needs, and reports if it goes on."""
        self._imports.begin()
        threads = self._study.records.machine.threads_of_trials(trial.batch_size)
        instructions = replace(self._usual, loop=self._loop_for(trial), threads=threads)
        before = self._goes_on_from(trial)
        if before is None:
            return replace(trial, instructions=instructions)
        return replace(trial, instructions=replace(instructions, continues=before.trial_id), reports=before.reports)

    def _goes_on_from(self, trial: Trial) -> Trial | None:
        """Return the longest of the trainings that a trial can go on from, as their states are kept; None for none."""
        if self._states is None or trial.outcome is None:  # only one that has run before has something to go on from
            return None
        states, kept = self._states, list[Trial]()
        for other in self._study.records:
            if other.key == trial.key and 0 < len(other.reports) < trial.budget.epochs and holds_state(states, other):
                kept.append(other)
        return max(kept, key=lambda each: len(each.reports), default=None)

    def measure(self, wish: Wish) -> None:
        """Measure what a plan needs and keep it with the study; all devices are idle."""
        self._imports.wait()
        if isinstance(wish, ShareOut):
            return self._share_out(wish)
        machine = self._study.records.machine
        shown: GradientNoise | ThroughputFindings | None
        if isinstance(wish, MeasureNoise):
            self._tell("Measuring the gradient noise scale along the reference training.")
            machine = with_noise(machine, self._executor, wish, self._setup.arguments.evaluation_batch_size)
            shown = machine.noise
        else:
            self._tell("Timing updates once more." if wish.again else "Timing updates by batch size.")
            largest = self._setup.space.batch_size.values()[-1]
            measure = with_timings_again if wish.again else with_timings
            machine = measure(
                machine,
                self._executor,
                sizes=wish.batch_sizes or (largest,),
                loop=self._usual.loop,
                epochs=self._setup.arguments.epochs,
                hyperparameters=wish.hyperparameters,
                evaluation_batch_size=self._setup.arguments.evaluation_batch_size,
            )
            shown = machine.throughput_again if wish.again else machine.throughput
        assert shown is not None
        self.keep(machine, shown.measurement)
        wants_outline = isinstance(wish, MeasureNoise) or not len(self._study.records)
        if wants_outline and (line := self._plan.outline(self._study.records)):
            self._tell(line)
        return None

    def _share_out(self, wish: ShareOut) -> None:
        """Have trials run beside one another with a thread each from now on, where a timing shows that to do more.

        A plan that wishes so answers for the user's loop, which it times with all threads, so that no batch size is
        given other ones.
        """
        machine, found = self._study.records.machine, Machine()
        if self._places > 1:
            self._tell("Timing whether trainings do more beside one another, with one CPU thread each.")
            found = with_threads(
                machine,
                self._executor,
                {wish.batch_size: wish.updates},
                loop=self._usual.loop,
                n_train=self._setup.n_train,
                evaluation_batch_size=self._setup.arguments.evaluation_batch_size,
                places=self._places,
            )
        if found.threads is not None and found.threads.seconds:
            self._tracker.measured(found.threads.measurement)
        machine = replace(machine, threads=ThreadChoice(), workers=found.workers)
        self._study.measured(machine)
        divide(self._executor, machine)

    def keep(self, machine: Machine, shown: Measurement) -> None:
        """Keep what was measured with the study, and show it."""
        self._study.measured(machine)
        self._tracker.measured(shown)

    def trial_ended(self, trial: Trial) -> None:
        """Learn which loop a trial has trained with, and forget weights that are not among the best."""
        self._learn_loop(trial)
        self._checkpoints.trial_ended(trial)
        if self._states is not None and trial.scored and trial.instructions.continues:
            state_file(self._states, trial.instructions.continues).unlink(missing_ok=True)

    def _learn_loop(self, trial: Trial) -> None:
        """Another seed or learning rate shares the compiled program, so that its loop is not chosen again."""
        if trial.outcome is not None and trial.outcome.loop:
            self._loops.setdefault((trial.batch_size, trial.hyperparameters), trial.outcome.loop)

    def _loop_for(self, trial: Trial) -> str:
        """Return the loop that was asked for; of "auto" the one that was chosen for the same program before."""
        if self._usual.loop != AUTO:
            return self._usual.loop
        return self._loops.get((trial.batch_size, trial.hyperparameters), AUTO)


class Checkpoints:
    """The final weights of the best trials on disk, and nothing of the others.

    Args:
        directory: Where the engine puts weights, a file per trial.
        limit: How many to keep; 0 saves none.
        objective: The metric that decides.
        trials: Trials that an earlier run of the study has ended.
    """

    def __init__(self, directory: Path, limit: int, objective: Objective, trials: Any = ()) -> None:
        self._directory, self._limit, self._objective = directory, limit, objective
        self._best: list[tuple[float, str]] = []
        for trial in trials:
            self.trial_ended(trial)

    def trial_ended(self, trial: Trial) -> None:
        """Delete the weights of a trial that is not among the best, or of the one that it has taken the place of."""
        if not trial.scored or trial.score is None:
            return self._delete(trial.trial_id)
        bisect.insort(self._best, (self._objective.sign * trial.score, trial.trial_id))
        if len(self._best) > self._limit:
            self._delete(self._best.pop(0)[1])
        return None

    def _delete(self, trial_id: str) -> None:
        weights_file(self._directory, trial_id).unlink(missing_ok=True)


def weights_file(directory: Path, trial_id: str) -> Path:
    """Return where the weights of a trial lie."""
    return directory / f"{trial_id}.weights.h5"
