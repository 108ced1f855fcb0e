"""StagedSearch: the recommended protocol as a `keras_tuner.Tuner`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.console import Console

from search_spaces.batch_size import BatchSize
from search_spaces.space import SearchSpace
from tuning.base_tuner import BatchSizeTuner
from tuning.machine.facts import MachineFacts, NoiseFacts, Timings
from tuning.machine.noise import NoiseFindings
from tuning.record.layout import PROBE, TARGET, THROUGHPUT
from tuning.record.store import TrackingError
from tuning.record.tracker import Tracker
from tuning.run.executor import Executor
from tuning.search.measuring import measure_again, measure_machine, measure_noise, read_noise
from tuning.search.options import SearchArguments
from tuning.show.notes import notes_of, notes_of_stages, tell_plan, tell_search
from tuning.stats.recommendation import Recommendation
from tuning.study.plans import Plan
from tuning.study.staged.plan import StagedPlan
from tuning.study.staged.question import Question
from tuning.study.staged.reference import Reference
from tuning.trial import EpochReport, Status, TrialOutcome

_LARGEST = 4096
_UPDATES_PER_EPOCH = 8
_MACHINE, _NOISE, _TIMINGS = "machine", "noise", "timings"


class StagedSearch(BatchSizeTuner):
    """Find the batch size that reaches a target soonest, in stages: each decides what the next one tries.

    The machine is timed; learning rates are tuned at a reference batch size, which sets the target; the gradient's
    noise scale there forecasts where to look; batch sizes on both sides of the forecast each seek their own learning
    rate; and each is confirmed on fresh seeds, a close race on more of them. See `StagedPlan`.

    Hyperparameters of the model's own are held at their defaults.

    Args:
        hypermodel: As all arguments that are not listed, see `BatchSizeTuner`.
        objective: See there.
        batch_size: Sizes to choose from; a list is tried whole. None for powers of two up to 4096 that leave at least 8
            updates in an epoch.
        seeds: Fresh seeds of each batch size.
        first_seed: Of the search; the fresh seeds are those after it.
        rest: See there.

    Raises:
        TypeError: If an option is unknown, or `max_trials` is given: the stages decide how many there are.
        ValueError: If a number is out of its range.
    """

    kind = "tune"
    prunes = True
    chooses_threads = False  # it answers for plain fit, which it times with all threads

    def __init__(self, hypermodel: Any, objective: Any = None, *, first_seed: int = 0, **rest: Any) -> None:
        if "max_trials" in rest:
            raise TypeError("StagedSearch takes no max_trials: its stages decide. Limit it with timeout_s.")
        if first_seed < 0:
            raise ValueError(f"first_seed must be at least 0; got {first_seed}.")
        self.first_seed = first_seed
        super().__init__(hypermodel, objective, **rest)
        if self.options.accumulate:
            raise ValueError("StagedSearch tries no batch size beyond memory, which trains no faster; got accumulate.")
        self._arguments: SearchArguments | None = None

    def default_batch_size(self, n_train: int) -> BatchSize:
        return BatchSize(1, max(1, min(_LARGEST, n_train // _UPDATES_PER_EPOCH)))

    def more_settings(self) -> dict[str, str]:
        return {"first_seed": str(self.first_seed), "target": str(self.options.target)}

    def make_plan(self, space: SearchSpace) -> Plan:
        assert self._arguments is not None
        question = Question(
            objective=self.oracle.objective.name,
            maximize=self.oracle.maximize,
            epochs=self._arguments.epochs,
            n_train=self._arguments.data.n_train,
            seeds=self.seeds,
            first_seed=self.first_seed,
            target=self.options.target,
            rule=self.options.rule,
            tolerance=self.options.tolerance,
        )
        return StagedPlan(space, question, all_sizes=bool(self.batch_size and self.batch_size.sizes))

    def make_sampler(self, space: SearchSpace) -> None:  # noqa: ARG002  (the plan decides)
        return None

    def recommend(self, **rule: Any) -> Recommendation:
        if self._timings is not None:
            rule = {"throughput": self._timings.examples_per_second(self._tried), **rule}
        return super().recommend(**rule)

    @property
    def target(self) -> float | None:
        return self._plan.target(self.oracle.records)

    @property
    def _plan(self) -> StagedPlan:
        plan = self.oracle.plan
        assert isinstance(plan, StagedPlan)
        return plan

    def _resolve(self, arguments: SearchArguments, executor: Executor, meanwhile: Callable[[], None]) -> SearchSpace:
        self._arguments = arguments
        return super()._resolve(arguments, executor, meanwhile)

    def _within_memory(
        self, arguments: SearchArguments, executor: Executor, space: SearchSpace, tracker: Tracker
    ) -> Executor:
        """Learn what the machine can do, from the study's own record where it has been measured before."""
        known = self.oracle.recall(_MACHINE)
        if known is not None:
            self._plan.learn(machine=MachineFacts.from_json(known))
            return executor
        within = super()._within_memory(arguments, executor, space, tracker)
        self._tell("Timing updates by batch size.")
        sizes = space.batch_size.values()
        machine = measure_machine(
            within,
            arguments,
            self._plan.hyperparameters,
            loop=self.options.loop,
            largest=min(sizes[-1], self._largest_fitting or sizes[-1]),
            largest_fitting=self._largest_fitting,
        )
        self._learn_machine(machine, tracker)
        return within

    def _run(self, arguments: SearchArguments, executor: Executor, tracker: Tracker) -> None:
        plan = self._plan
        noise = self.oracle.recall(_NOISE)
        if noise is not None:
            plan.learn(noise=NoiseFacts(**noise))
        if not self.oracle.records:
            found = plan.forecast(())
            self._tell(tell_plan(found, plan.question))
        super()._run(arguments, executor, tracker)
        reference = plan.reference(self.oracle.records)
        if reference is None:
            return
        if plan.noise is None and not self._deadline.is_past:
            self._learn_noise(reference, arguments, executor, tracker)
            assert plan.noise is not None
            ahead = plan.forecast(self.oracle.records)
            self._tell(tell_search(ahead, plan.question, reference, plan.noise))
            super()._run(arguments, executor, tracker)
        self._conclude(arguments, executor, tracker)

    def _learn_machine(self, machine: MachineFacts, tracker: Tracker) -> None:
        self._plan.learn(machine=machine)
        self.oracle.remember(_MACHINE, machine.to_json())
        _log_machine(tracker, machine)

    def _learn_noise(
        self, reference: Reference, arguments: SearchArguments, executor: Executor, tracker: Tracker
    ) -> None:
        plan = self._plan
        assert plan.machine is not None
        self._tell("Measuring the gradient noise scale along the reference training.")
        found = measure_noise(executor, reference, plan.machine, arguments, plan.hyperparameters, seed=self.first_seed)
        noise = read_noise(found)
        plan.learn(noise=noise)
        self.oracle.remember(_NOISE, noise.to_json())
        _log_noise(tracker, found, reference)

    def _conclude(self, arguments: SearchArguments, executor: Executor, tracker: Tracker) -> None:
        """Time the batch sizes once more, if that has not been done, and leave with the study what it is judged by."""
        timings = self._timings
        assert timings is not None
        if self.oracle.recall(_TIMINGS) is None and not self._deadline.is_past:
            self._tell("Timing updates once more.")
            timings = measure_again(
                executor, timings, self._tried, arguments, self._plan.hyperparameters, loop=self.options.loop
            )
            self.oracle.remember(_TIMINGS, timings.to_json())
        self._settings |= {
            TARGET: str(self.target),
            THROUGHPUT: json.dumps(timings.examples_per_second(self._tried)),
            "notes": "\n".join(self._notes()),
        }
        with contextlib.suppress(TrackingError):  # an answer does not depend on who records it
            tracker.start_study(self.project_name, self._settings)

    @property
    def _tried(self) -> list[int]:
        """The batch sizes that have been tried, ascending."""
        return sorted({record.setting.batch_size for record in self.oracle.records})

    @property
    def _timings(self) -> Timings | None:
        """Of the user's loop, with what was timed for the answer; None before anything was.

        The plan keeps to the first ones, so that a search which is complete stays so.
        """
        known = self.oracle.recall(_TIMINGS)
        if known is not None:
            return Timings.from_json(known)
        return None if self._plan.machine is None else self._plan.machine.user

    def _notes(self) -> list[str]:
        """Those of any search, whose workers may disturb its timings while these are taken alone; then the stages'.

        A study's settings are written before there is a plan.
        """
        alone = replace(self.options, workers=1)
        records = self.oracle.records
        notes = notes_of(self._description, alone, records, self._largest_fitting)
        return notes + (notes_of_stages(self._plan, records, loop=self.options.loop) if self.oracle.is_open else [])

    def _tell(self, line: str) -> None:
        if not self.options.quiet and (self._arguments is None or self._arguments.verbose):
            Console(stderr=True).print(line, markup=False, highlight=False)


def _log_machine(tracker: Tracker, machine: MachineFacts) -> None:
    """A run of stage "probe" that holds the timings."""
    trial_id = f"{PROBE}-{_MACHINE}"
    series = {"user": machine.user, "trials": machine.trials}
    measured = {
        f"seconds_per_update_{name}_{size}": seconds
        for name, timings in series.items()
        for size, seconds in timings.seconds_per_update.items()
    }
    tracker.start_trial(trial_id, {}, PROBE)
    tracker.end_trial(TrialOutcome(trial_id, Status.COMPLETED, measurements=measured))


def _log_noise(tracker: Tracker, found: NoiseFindings, reference: Reference) -> None:
    """A run of stage "probe" that holds the noise scale by examples seen."""
    trial_id = f"{PROBE}-{_NOISE}"
    tracker.start_trial(trial_id, {"batch_size": reference.batch_size, "learning_rate": reference.learning_rate}, PROBE)
    for moment, point in enumerate(found.points, start=1):
        named = {"noise_scale": point.value, "noise_scale_low": point.low, "noise_scale_high": point.high}
        values = {name: value for name, value in named.items() if value is not None}
        updates = point.at_examples // reference.batch_size
        tracker.log_epoch(EpochReport(trial_id, moment, point.at_examples, updates, values, 0.0))
    tracker.end_trial(TrialOutcome(trial_id, Status.COMPLETED, reason=found.reason))
