"""What is ahead of a staged search and what it took for granted, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tuning.machine.noise import GradientNoise
from tuning.plans.staged.rates import WINDOW
from tuning.plans.staged.reference import SEEDS, SHARE_OF_BUDGET, Reference, expected_examples
from tuning.plans.staged.reference_stage import reference_of, reference_size_of, reference_trials, repeats_ahead
from tuning.plans.staged.search_stage import searched_sizes
from tuning.plans.staged.state import StagedState, StudyGoal, defaults_of
from tuning.stats.reasons import duration, listing, number, plural

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
    confirmed = goal.seeds * len(sizes)
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
    steps.append(f"{plural(goal.seeds, 'fresh seed')} for each size")
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
        yield goal.seeds * _seconds_of(state, size, confirmed)


def _seconds_of(state: StagedState, size: int, examples: float) -> float:
    trials = state.machine.trials or state.user
    return _SECONDS_PER_TRIAL + examples / size * trials.seconds(size)
