"""The next command: what would settle what a recommendation leaves open, to be copied."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from tuning.stats.next_step import NextStep

_SHOWS = ("--fresh", "--json", "--quiet")
_BOUNDS = ("--min-batch", "--max-batch")
_PROPOSALS, _FURTHER = 30, 10


def next_command(kind: str, command: str, step: NextStep) -> str:
    """Return the command that adds the trainings of a step to the study of another command.

    >>> next_command("grid", "batch-size grid digits --json", NextStep("tie", (32, 64), seeds=8))
    'batch-size grid digits --batch-sizes 32,64 --seeds 8'

    Args:
        kind: The kind of search, such as "grid".
        command: What the study was last searched with, perhaps `batch-size run study.toml`.
        step: The step.

    Returns:
        The command; empty if there is none, since a kind of search chooses by itself what the step names.
    """
    words = shlex.split(command)
    if step.learning_rates and kind != "grid" and "--learning-rates" not in words:
        return ""
    changes = _changes(kind, words, step)
    kept = [word for word in _without(words, (*changes, *(_BOUNDS if step.batch_sizes else ()))) if word not in _SHOWS]
    return shlex.join([*kept, *(word for pair in changes.items() for word in pair)])


def next_arguments(kind: str, step: NextStep) -> str:
    """Return the arguments of a tuner that add the trainings of a step to its study; empty if it chooses them itself.

    Args:
        kind: The kind of search, such as "grid".
        step: The step.
    """
    if step.learning_rates and kind != "grid":
        return ""
    changes = _changes(kind, (), step)
    return ", ".join(_ARGUMENTS[option].format(value) for option, value in changes.items())


def proceed(settings: Mapping[str, str], step: NextStep | None) -> str:
    """Return a line with what would settle what is open, and how; empty where nothing is, or no search of ours ran.

    Args:
        settings: Those of the study.
        step: The step; None for none.
    """
    if step is None or "search" not in settings:
        return ""
    settles, command = _SETTLES[step.settles], settings.get("command", "")
    if command:
        told = next_command(settings["search"], command, step)
    else:
        arguments = next_arguments(settings["search"], step)
        told = arguments and f"search again with {arguments}"
    return told and f"{settles}: {told}"


_SETTLES = {
    "noise": "Learn how sure this is",
    "smaller sizes": "Try smaller batch sizes",
    "larger sizes": "Try larger batch sizes",
    "learning rate": "Try learning rates further out",
    "tie": "Settle the tie",
}


_ARGUMENTS = {
    "--batch-sizes": "batch_size=BatchSize.of({0})",
    "--learning-rates": "learning_rate=LearningRate.choices({0})",
    "--seeds": "seeds={0}",
    "--trials": "max_trials={0}",
}


def _changes(kind: str, words: Sequence[str], step: NextStep) -> Mapping[str, str]:
    """Return the options to set; of a search that trains whole studies alike, more seeds go to every batch size."""
    found = {}
    if step.batch_sizes and (kind == "grid" or step.settles != "tie"):
        found["--batch-sizes"] = ",".join(map(str, step.batch_sizes))
    if step.learning_rates:
        found["--learning-rates"] = ",".join(f"{rate:g}" for rate in step.learning_rates)
    if step.seeds is not None:
        found["--seeds"] = str(step.seeds)
    if kind == "bayes" and step.batch_sizes and step.settles != "tie":
        found["--trials"] = str(_read_number(words, "--trials", _PROPOSALS) + _FURTHER)
    return found


def _without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return words without some options and their values."""
    found, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif not any(word.startswith(f"{option}=") for option in options):
            found.append(word)
    return found


def _read_number(words: Sequence[str], option: str, default: int) -> int:
    found = re.search(rf"{option}[ =](\d+)", " ".join(words))
    return default if found is None else int(found[1])
