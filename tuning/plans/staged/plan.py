"""StagedPlan: learning rates at a reference batch size, then batch sizes around the forecast, then fresh seeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from search_spaces.space import SearchSpace
from tuning.machine.noise import GradientNoise
from tuning.plans.halving import Group, group_of
from tuning.plans.plan import Decision, Judgement, MeasureNoise, MemoryWall, Pause, ShareOut, TimeUpdates, Wish
from tuning.plans.staged.reference import SEEDS, SHARE_OF_BUDGET, Reference, expected_examples, judged_target
from tuning.plans.staged.stages import (
    confirm_trials,
    reference_of,
    reference_size_of,
    reference_trials,
    repeats_ahead,
    search_trials,
    searched_sizes,
    usual_seeds,
)
from tuning.plans.staged.state import WINDOW, StagedState, StudyGoal, defaults_of
from tuning.stats.forecast import MOST_SIZES
from tuning.stats.reasons import duration, listing, number, plural
from tuning.study.records import ChangeReader, Records
from tuning.study.study import PlainEncoder
from tuning.trial import CONFIRM, Trial

_WORTH_SHARING_S = 20.0  # of trainings; finding out and starting two more workers takes half of what two cores save
_SECONDS_PER_TRIAL = 0.2  # building, validating and recording a small model; a large one takes longer than that anyway


@dataclass(frozen=True)
class Outline:
    """What is ahead, rates beyond edges and close races not counted.

    Args:
        reference_size: The reference batch size; None if none fits.
        reference: Trainings there.
        search: Trainings that seek the learning rates of the others.
        confirm: Trainings on fresh seeds.
        sizes: The batch sizes expected.
        seconds: Seconds of all trainings together, on one device.
    """

    reference_size: int | None
    reference: int
    search: int
    confirm: int
    sizes: tuple[int, ...]
    seconds: float

    @property
    def trainings(self) -> int:
        """The number of all trainings."""
        return self.reference + self.search + self.confirm


def outline_of(state: StagedState, *, all_sizes: bool) -> Outline:
    """Return what is ahead, from what is known: the law of updates tells how many examples each size will need.

    Args:
        state: What is known.
        all_sizes: Whether every batch size of the space is searched.
    """
    goal = state.goal
    due = len(reference_trials(state)) + repeats_ahead(state)
    size = reference_size_of(state)
    guess = None if size is None else Reference(size, None, 0.0, float(goal.epochs * goal.n_train))
    reference = reference_of(state) or guess
    if reference is None:
        return Outline(None, 0, 0, 0, (), 0.0)
    sizes = searched_sizes(state, reference, all_sizes=all_sizes)
    searched = rates_per_size(state) * (len(sizes) - 1)
    confirmed = usual_seeds(goal) * len(sizes)
    seconds = due * _seconds_of(state, reference.batch_size, goal.epochs * goal.n_train)
    seconds += sum(_seconds_by_size(state, sizes, reference))
    return Outline(size, due, searched, confirmed, sizes, seconds)


def rates_per_size(state: StagedState) -> int:
    """Return the number of learning rates that a batch size is searched with at first."""
    rate = state.space.learning_rate
    return 1 if rate is None else len(rate.values or WINDOW)


def tell_plan(found: Outline, goal: StudyGoal) -> str:
    """Return a line for people before the first training."""
    others = len(found.sizes) - 1
    steps = [f"{plural(found.reference, 'training')} at batch size {found.reference_size}"]
    if others:
        steps.append(f"{plural(found.search // others, 'learning rate')} at each of {plural(others, 'other size')}")
    steps.append(f"{plural(usual_seeds(goal), 'fresh seed')} for each size that may be the best")
    more = "more where a best learning rate is at an edge or the race is close"
    return f"Plan: about {found.trainings} trainings in {duration(found.seconds)}: {', then '.join(steps)}; {more}."


def tell_search(found: Outline, goal: StudyGoal, reference: Reference, noise: GradientNoise) -> str:
    """Return a line for people after the reference: what it taught, and which batch sizes come next."""
    rate = "" if reference.learning_rate is None else f" with a learning rate of {number(reference.learning_rate)}"
    target = f"{goal.objective.name} {reference.target:.4g}"
    sizes = ", ".join(map(str, found.sizes))
    ahead = found.search + found.confirm
    return (
        f"Reference: batch size {reference.batch_size}{rate}; the target is {target}. {tell_noise(noise)} "
        f"Batch sizes: {sizes}; about {ahead} trainings in {duration(found.seconds)}."
    )


def tell_noise(noise: GradientNoise) -> str:
    """Return a sentence on the noise scale, or on what stands for it."""
    if noise.value is not None:
        return f"The gradient noise scale is about {number(noise.value)}."
    bound = "" if noise.at_least is None else f", only that it is at least {number(noise.at_least)}"
    why = (noise.reason or "the gradient cannot be told from 0 with so few examples").rstrip(".")
    return f"The gradient noise scale is not known ({why}{bound}); {number(noise.critical_batch_size)} is assumed."


def notes_of_stages(
    state: StagedState, reference: Reference | None, judged: float | None, *, timed_loop: str
) -> tuple[str, ...]:
    """Return what a staged search took for granted, one sentence each.

    Args:
        state: What is known.
        reference: What the reference taught, if it is complete.
        judged: The target by which the answer is judged.
        timed_loop: How the training that is timed is called.
    """
    notes = [f"Seconds and throughput are those of {timed_loop}, timed with nothing else running."]
    if reference is not None and state.goal.target is None:
        notes.append(_tell_target(state.goal, reference, judged))
    if state.machine.noise is not None and state.machine.noise.value is None:
        notes.append(tell_noise(state.machine.noise))
    if defaults := defaults_of(state.space):
        held = listing([f"{name} = {value}" for name, value in defaults.items()])
        notes.append(f"The model's own hyperparameters were held at their defaults: {held}.")
    return tuple(notes)


def _tell_target(goal: StudyGoal, reference: Reference, judged: float | None) -> str:
    """Return where the target comes from that nobody named."""
    size, share = f"batch size {reference.batch_size}", f"{100 * SHARE_OF_BUDGET:.0f} %"
    if judged is None or judged == reference.target:
        return (
            f"The target, {goal.objective.name} {reference.target:.4g}, is what {size} reached on {SEEDS} seeds by "
            f"{share} of {goal.epochs} epochs; name another one by --target."
        )
    return (
        f"What {size} reached on its first {SEEDS} seeds, {goal.objective.name} {reference.target:.4g}, no batch size "
        f"reached on all fresh ones; the target, {judged:.4g}, is what {size} had on these at {share} of the budget."
    )


def _seconds_by_size(state: StagedState, sizes: tuple[int, ...], reference: Reference) -> Iterator[float]:
    goal = state.goal
    for size in sizes:
        examples = expected_examples(reference, size, state.critical_batch_size)
        searched = 0 if size == reference.batch_size else rates_per_size(state)
        confirmed = max(examples, goal.epochs * goal.n_train)
        yield state.machine.seconds_to_start
        yield searched * _seconds_of(state, size, examples)
        yield usual_seeds(goal) * _seconds_of(state, size, confirmed)


def _seconds_of(state: StagedState, size: int, examples: float) -> float:
    trials = state.machine.trials or state.user
    return _SECONDS_PER_TRIAL + examples / size * trials.seconds(size)


@dataclass
class _Later:
    """About how many trials follow those that are due now."""

    trials: int = 0


class StagedPlan:
    """Decides by the records alone, so that a search which was killed goes on as if it had not been.

    1. reference: five learning rates spaced by 3 at one batch size, moved outward while the best is at an edge; the
       two best on two more seeds, if the target is to be what the better of them reaches.
    2. search: six batch sizes around the forecast, three learning rates each around the rule's centre, moved outward
       likewise, then half a step to both sides of the best where the size is in the race, at the reference's seed.
       These trainings end at the target.
    3. confirm: each batch size that reached the target at its best rate, on one fresh seed shared by all; those that
       may be the best on a second; then one seed more at a time for those that save most expected loss per second.
       These end at the target, too, where times decide.

    Updates are timed before the first trial, the gradient's noise is measured after the reference, and the batch sizes
    that were tried are timed again at the end.

    What a stage is known to need may run in any order, but for trials that halving compares: where trials run beside
    one another on one CPU, these wait for one another, so that the same ones are stopped as if all ran in turn.

    The records are read whole only when all that a stage was known to need has ended, a dozen times in a search; in
    between the plan hands out what it found due then.

    Args:
        space: What may be tried; the model's own hyperparameters are held at their defaults.
        goal: What is to be answered.
        all_sizes: Whether every batch size of the space is searched, because the user named them.
        timed_loop: How the training that is timed is called, for the notes.
        shares_out: Whether trials may run beside one another on one CPU.
        halves: Whether trials that are behind are stopped.
    """

    def __init__(
        self,
        space: SearchSpace,
        goal: StudyGoal,
        *,
        all_sizes: bool = False,
        timed_loop: str = "plain model.fit",
        shares_out: bool = False,
        halves: bool = True,
    ) -> None:
        self.encoder = PlainEncoder(space.entries)
        self._space, self._goal = space, goal
        self._all_sizes, self._timed_loop = all_sizes, timed_loop
        self._shares_out, self._halves = shares_out, halves
        self._defaults = defaults_of(space)
        self._due: deque[Trial] = deque()
        self._running: dict[str, Group] = {}
        self._wall = MemoryWall()
        self._reader = ChangeReader()
        self._later = _Later()

    def next(self, records: Records) -> Decision:
        """Return the next trial, what is to be measured before it, or why there is neither."""
        if records.machine.user is None:
            return TimeUpdates(hyperparameters=self._defaults)
        if self._shares_out and not len(records) and (sharing := self._share_out(records)) is not None:
            return sharing
        self._follow(records)
        if (trial := self._take(records)) is not None:
            return trial
        if self._running:
            return Pause.WAIT
        wish = self._plan_ahead(records)
        if wish is not None:
            return wish
        return self._take(records) or Pause.DONE

    def total(self, records: Records) -> int:
        """Return the trials that ran and those that are due as far as is known: none for edges and close races."""
        due = sum(not records.has(trial) for trial in self._due)  # what has begun leaves the queue at the next question
        return records.n_settled + due + self._later.trials

    def judgement(self, records: Records) -> Judgement:
        """Return the target and the timings that the answer is judged by."""
        state = self._state(records)
        if state is None:
            return Judgement(self._goal.target)
        reference = reference_of(state)
        target = self._goal.target
        if reference is not None:
            target = judged_target(reference, state.ended(CONFIRM), self._goal)
        timings = records.machine.user_least or state.user
        sizes = sorted({trial.batch_size for trial in records})
        notes = notes_of_stages(state, reference, target, timed_loop=self._timed_loop)
        return Judgement(target, timings.examples_per_second(sizes), records.machine.user_errors or None, notes)

    def outline(self, records: Records) -> str:
        """Return a line on what is ahead: before the first trial, and after the reference."""
        state = self._state(records)
        if state is None:
            return ""
        found, reference, noise = outline_of(state, all_sizes=self._all_sizes), reference_of(state), state.machine.noise
        if reference is None or noise is None:
            return tell_plan(found, self._goal)
        return tell_search(found, self._goal, reference, noise)

    def _follow(self, records: Records) -> None:
        """Take in which trials run and which sizes have run out of memory."""
        for trial in self._reader.new(records):
            if trial.status is None:
                self._running[trial.trial_id] = group_of(trial)
            else:
                self._running.pop(trial.trial_id, None)
                self._wall.add(trial)

    def _take(self, records: Records) -> Trial | None:
        """Return the first trial that is due, has not been started, has memory, and need not wait for its group."""
        due = [t for t in self._due if not records.has(t) and not self._wall.rules_out(t.setting)]
        self._due.clear()
        self._due.extend(due)
        held = set(self._running.values()) if self._halves and records.machine.workers > 1 else set()
        return next((trial for trial in self._due if group_of(trial) not in held), None)

    def _share_out(self, records: Records) -> ShareOut | None:
        """Return what is ahead if it is worth finding out whether that runs beside one another, and nobody knows."""
        state = self._state(records)
        assert state is not None
        found = outline_of(state, all_sizes=self._all_sizes)
        if found.reference_size is None or found.seconds < _WORTH_SHARING_S or records.machine.threads is not None:
            return None
        timings = records.machine.trials or state.user
        return ShareOut(found.reference_size, found.seconds / timings.seconds(found.reference_size))

    def _plan_ahead(self, records: Records) -> Wish | None:
        """Find out what the earliest incomplete stage needs, all before it being complete and nothing running."""
        state = self._state(records)
        assert state is not None
        self._due.extend(reference_trials(state))
        reference = reference_of(state)
        if self._due or reference is None:
            self._later.trials = self._later_than_reference(state) if self._due else 0
            return None
        if records.machine.noise is None:
            return self._noise_along(reference)
        self._due.extend(search_trials(state, reference, all_sizes=self._all_sizes))
        if self._due:
            self._later.trials = len(searched_sizes(state, reference, all_sizes=self._all_sizes)) * usual_seeds(
                self._goal
            )
            return None
        self._later.trials = 0
        self._due.extend(confirm_trials(state, reference))
        if not self._due and records.machine.throughput_again is None:
            sizes = tuple(sorted({trial.batch_size for trial in records}))
            return TimeUpdates(sizes, again=True, hyperparameters=self._defaults)
        return None

    def _later_than_reference(self, state: StagedState) -> int:
        """Return about how many trials follow those of the reference that are due now."""
        sizes = len(self._space.batch_size.values()) if self._all_sizes else MOST_SIZES
        return repeats_ahead(state) + (sizes - 1) * rates_per_size(state) + sizes * usual_seeds(self._goal)

    def _noise_along(self, reference: Reference) -> MeasureNoise:
        return MeasureNoise(
            reference.batch_size,
            reference.learning_rate,
            self._goal.first_seed,
            reference.examples,
            self._defaults,
        )

    def _state(self, records: Records) -> StagedState | None:
        if records.machine.user is None:
            return None
        return StagedState(self._space, self._goal, records.machine, tuple(records))
