"""Whether a study can have more epochs: every training goes on from where it ended, to what it would have been."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tuning.loops.state_file import NOT_KEPT, holds_state
from tuning.search.growth import EPOCHS
from tuning.search.options import LOCAL, SearchOptions
from tuning.search.preparation import Setup
from tuning.study.storage import StudyError
from tuning.trial import Status, Trial


def check_longer(
    name: str,
    stored: Mapping[str, str],
    setup: Setup,
    options: SearchOptions,
    trials: Iterable[Trial],
    states: Path,
    *,
    allocates_seeds: bool,
) -> None:
    """Make sure that a search for more epochs trains what one for so many epochs from the start would have trained.

    Args:
        name: The study.
        stored: Its settings.
        setup: What is asked for now.
        options: How the search runs.
        trials: Those that the study has recorded.
        states: Where the states lie from which trainings can go on.
        allocates_seeds: Whether seeds go where they are worth most.

    Raises:
        StudyError: If it would not; the message says why, and how many trainings would be trained again.
    """
    before, now = int(stored[EPOCHS]), setup.arguments.epochs
    ended = [trial for trial in trials if trial.is_settled]
    reason = (
        _why_shorter(before, now)
        or _why_it_depends(stored, before, options, ended, allocates_seeds=allocates_seeds)
        or _why_of_rates(setup)
        or _why_not_kept(ended, now, options, states)
    )
    if reason:
        raise StudyError(
            f"The study {name!r} cannot go on from {before} to {now} epochs: {reason}. Its trainings ({len(ended)}) "
            f"would be trained again: give --epochs {before} to continue it, another --study name, or --fresh to set "
            "it aside and train them all again."
        )


def _why_shorter(before: int, now: int) -> str:
    return "its trainings are longer than that" if now < before else ""


def _why_it_depends(
    stored: Mapping[str, str], before: int, options: SearchOptions, ended: list[Trial], *, allocates_seeds: bool
) -> str:
    """Return why what has been tried depends on the scores after so many epochs; empty where it does not."""
    scores = f"the scores after {before} epochs"
    if stored["search"] != "grid":
        return f"{stored['search']} chose what it tried by {scores}"
    if allocates_seeds:
        return f"seeds went to batch sizes by {scores}"
    if options.prune or any(trial.status is Status.PRUNED for trial in ended):
        return f"trials are stopped by their scores at shares of {before} epochs, and those of others lie elsewhere"
    return ""


def _why_of_rates(setup: Setup) -> str:
    """Return why the learning rates may be those of a training of another length; empty where they are not."""
    if schedule := setup.model.schedule:
        return f"{schedule} gives learning rates for a training of some length, and nobody can tell whether of this one"
    return ""


def _why_not_kept(ended: list[Trial], now: int, options: SearchOptions, states: Path) -> str:
    """Return why some trainings cannot go on from where they ended; empty where all can."""
    whole = [trial for trial in ended if trial.status is Status.COMPLETED]
    longest = {trial.key: trial for trial in sorted(whole, key=lambda trial: len(trial.reports))}
    short = [trial for trial in longest.values() if trial.budget.epochs < now]
    if short and options.engine != LOCAL:
        return f"states are kept on this machine, which engine={options.engine!r} cannot read"
    lacking = [trial for trial in short if not holds_state(states, trial)]
    if not lacking:
        return ""
    told = [
        str(trial.outcome.settings[NOT_KEPT])
        for trial in lacking
        if trial.outcome and NOT_KEPT in trial.outcome.settings
    ]
    why = told[0] if told else "they were trained without --keep"
    return f"of {len(short)} trainings, {len(lacking)} are not kept where they ended ({why})"
