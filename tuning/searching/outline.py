"""The words in which a staged search tells what it is about to do."""

from __future__ import annotations

from tuning.selection.wording import duration, number, plural
from tuning.studies.staged.facts import NoiseFacts
from tuning.studies.staged.forecast import Forecast
from tuning.studies.staged.question import Question
from tuning.studies.staged.reference import Reference


def tell_plan(found: Forecast, question: Question) -> str:
    """Before the first training."""
    others = len(found.sizes) - 1
    steps = [f"{plural(found.reference, 'training')} at batch size {found.reference_size}"]
    if others:
        steps.append(f"{plural(found.search // others, 'learning rate')} at each of {plural(others, 'other size')}")
    steps.append(f"{plural(question.seeds, 'fresh seed')} for each size")
    more = "more where a best learning rate is at an edge or the race is close"
    return f"Plan: about {found.trainings} trainings in {duration(found.seconds)}: {', then '.join(steps)}; {more}."


def tell_search(found: Forecast, question: Question, reference: Reference, noise: NoiseFacts) -> str:
    """After the reference: what it taught, and which batch sizes come next."""
    rate = "" if reference.learning_rate is None else f" with a learning rate of {number(reference.learning_rate)}"
    target = f"{question.objective} {reference.target:.4g}"
    sizes = ", ".join(map(str, found.sizes))
    ahead = found.search + found.confirm
    return (
        f"Reference: batch size {reference.batch_size}{rate}; the target is {target}. {tell_noise(noise)} "
        f"Batch sizes: {sizes}; about {ahead} trainings in {duration(found.seconds)}."
    )


def tell_noise(noise: NoiseFacts) -> str:
    """The noise scale, or what stands for it."""
    if noise.noise_scale is not None:
        return f"The gradient noise scale is about {number(noise.noise_scale)}."
    bound = "" if noise.at_least is None else f", only that it is at least {number(noise.at_least)}"
    why = noise.reason.rstrip(".")
    return f"The gradient noise scale is not known ({why}{bound}); {number(noise.critical_batch_size)} is assumed."
