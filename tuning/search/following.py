"""What follows the batch size in a search: settled from the model and the options, and told in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from search_spaces.learning_rate import KERAS_BATCH_SIZE
from search_spaces.scaling import OFF, Scaling, schedule_batch_size
from tuning.messages import ModelDescription
from tuning.search.options import SearchOptions
from tuning.search.preparation import Setup


def scaling_of(setup: Setup, options: SearchOptions) -> Scaling:
    """Return what follows the batch size in every trial of a search.

    Raises:
        ValueError: If the schedule is to span the training, but has no end, or there is none.
    """
    model, rate = setup.model, setup.space.learning_rate
    if options.schedule_batch_size not in (None, OFF) and not model.schedule:
        raise ValueError(
            f"schedule_batch_size is for a model that is compiled with a learning-rate schedule; got "
            f"{options.schedule_batch_size!r} for one without. Leave it out."
        )
    at = rate.at_batch_size if rate else KERAS_BATCH_SIZE
    counts_at = None
    if model.schedule and not model.tells_batch_size and model.learning_rate is not None:
        examples, asked = setup.arguments.epochs * setup.n_train, options.schedule_batch_size
        counts_at = schedule_batch_size(asked, at=at, updates=model.schedule_updates, examples=examples)
    return Scaling(
        at_batch_size=at,
        reference_rate=(rate.base if rate else None) or model.learning_rate,
        schedule_at=counts_at,
        weight_decay=options.scale_weight_decay and model.weight_decay is not None,
        decay_constants=options.scale_betas,
    )


def told(setup: Setup, scaling: Scaling) -> dict[str, str]:
    """Return, as settings of a study, what else follows the batch size and what does not; only of what is there.

    The learning rate has a setting of its own.
    """
    model, found = setup.model, dict[str, str]()
    if model.schedule:
        found["schedule"] = _told_schedule(model, scaling)
    if model.weight_decay is not None:
        held = f"at batch size {scaling.at_batch_size}, its effect in an epoch held"
        found["weight_decay"] = f"{model.weight_decay:g} {held if scaling.weight_decay else 'at every batch size'}"
    if scaling.decay_constants:
        found["decay_constants"] = f"right at batch size {scaling.at_batch_size}, half-lives constant in examples"
    relative = [type(each).__name__ for each in setup.arguments.callbacks if type(each).__name__ in _SETS_RATES]
    if relative:
        found["callback_rates"] = f"those of {', '.join(relative)} relative to the learning rate"
    return found


_SETS_RATES = ("LearningRateScheduler", "ReduceLROnPlateau")


def notes_of_following(setup: Setup, scaling: Scaling) -> list[str]:
    """Return the caveats about what could not follow, one sentence each."""
    model, notes = setup.model, _notes_of_callbacks(setup.arguments.callbacks)
    if not model.schedule or model.tells_batch_size:
        return notes
    if model.learning_rate is None:
        return [
            *notes,
            f"{model.schedule} is none of Keras's schedules, so that its rates and its counts of updates are the same "
            "at every batch size; let the build function take the batch size from hp to fit it to each.",
        ]
    if scaling.schedule_at is None:
        return [
            *notes,
            f"{model.schedule} counts updates, of which an epoch has fewer at larger batch sizes: its course is "
            "another at each, as asked for.",
        ]
    return notes


def _notes_of_callbacks(callbacks: Iterable[Any]) -> list[str]:
    names = sorted({type(each).__name__ for each in callbacks if _names_a_rate(each)})
    if not names:
        return []
    told = f"Learning rates that {' and '.join(names)} may set are the same at every batch size"
    return [f"{told}, unless they are multiples of the rate found in on_train_begin."]


def _names_a_rate(callback: Any) -> bool:
    """Return whether the user's own part of a callback mentions a learning rate anywhere in its code."""
    others = ("keras", "builtins")
    parts = [vars(kind) for kind in type(callback).__mro__ if kind.__module__.partition(".")[0] not in others]
    functions = [member for part in (*parts, vars(callback)) for member in part.values() if callable(member)]
    codes = [code for function in functions if (code := getattr(function, "__code__", None)) is not None]
    while codes:
        code = codes.pop()
        if {"learning_rate", "lr", "_learning_rate"} & set(code.co_names):
            return True
        codes += [constant for constant in code.co_consts if hasattr(constant, "co_names")]
    return False


def _told_schedule(model: ModelDescription, scaling: Scaling) -> str:
    if model.tells_batch_size:
        return f"{model.schedule}, which the build function fits to the batch size itself"
    if scaling.schedule_at is None:
        return f"{model.schedule}, left alone"
    return f"{model.schedule}, the same course in examples: its updates are those of batch size {scaling.schedule_at:g}"
