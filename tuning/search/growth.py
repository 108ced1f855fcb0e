"""What a study may grow by: batch sizes, learning rates, seeds and epochs; all else makes it another search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from search_spaces.batch_size import BatchSize
from search_spaces.learning_rate import LearningRate
from search_spaces.space import SearchSpace
from tuning.machine.machine import Machine
from tuning.study.records import Records

SIZES, RATE, SEEDS, EPOCHS = "batch_sizes", "learning_rate", "seeds", "epochs"
GROWING = (SIZES, RATE, SEEDS, EPOCHS)
"""The settings of a study that may differ from what it was started with."""


def may_grow(stored: Mapping[str, str], asked: Mapping[str, str]) -> tuple[str, ...]:
    """Return the settings in which a search may differ from the study that it goes on with.

    A Bayesian search sees learning rates either as a list or as distances from a rule; it cannot go from one to the
    other. Whether a study can have more epochs depends on more than settings: see `tuning.search.lengthening`.
    """
    if asked.get("search") != "bayes" or (is_list(stored.get(RATE, "")) and is_list(asked.get(RATE, ""))):
        return GROWING
    return tuple(name for name in GROWING if name != RATE)


def grown(stored: Mapping[str, str], asked: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a study that takes in what is asked for now.

    >>> grown({"batch_sizes": "8,32", "seeds": "3"}, {"batch_sizes": "64", "seeds": "5"})
    {'batch_sizes': '8,32,64', 'seeds': '5'}

    Args:
        stored: Those that it has; empty for a new study.
        asked: Those that a search would have on its own.
    """
    found = dict(asked)
    if SIZES in stored and SIZES in asked:
        found[SIZES] = ",".join(map(str, sorted({*_sizes(stored[SIZES]), *_sizes(asked[SIZES])})))
    if RATE in stored and RATE in asked:
        found[RATE] = _both_rates(stored[RATE], asked[RATE])
    return found


def tell_growth(stored: Mapping[str, str], settings: Mapping[str, str], *, lacking: int) -> str:
    """Return a line for people on what a study takes in; empty where it only goes on.

    Args:
        stored: The settings that it had; empty for a new study.
        settings: Those that it has now.
        lacking: Trainings that are missing, or that more epochs go on with.
    """
    changes = [f"{name.replace('_', ' ')} {stored[name]} -> {settings[name]}" for name in changed(stored, settings)]
    if not changes:
        return ""
    ahead = "go on or are missing" if EPOCHS in changed(stored, settings) else "are missing"
    return f"The study grows: {'; '.join(changes)}. Trainings that {ahead}: {lacking}; it keeps those that it has."


def changed(stored: Mapping[str, str], settings: Mapping[str, str]) -> list[str]:
    """Return the names of the settings that have changed; none for a new study."""
    return [name for name in GROWING if name in stored and stored[name] != settings.get(name)]


def widened(space: SearchSpace, records: Records) -> SearchSpace:
    """Return a space that also holds the batch sizes, and the rates if they are listed, that have been tried."""
    sizes = {*space.batch_size.values(), *(trial.batch_size for trial in records)}
    rate = space.learning_rate
    if rate is not None and rate.values:
        rate = LearningRate.choices(*rate.values, *(t.learning_rate for t in records if t.learning_rate is not None))
    if sizes == set(space.batch_size.values()) and rate == space.learning_rate:
        return space
    return replace(space, batch_size=BatchSize.of(*sorted(sizes)), learning_rate=rate)


def is_list(told: str) -> bool:
    """Return whether the setting of the learning rates lists them, so that they depend on no rule."""
    return all(_is_number(word) for word in told.split(","))


def to_be_measured_again(machine: Machine, stored: Mapping[str, str], settings: Mapping[str, str]) -> Machine:
    """Return a machine that has forgotten what was not measured of batch sizes that a study takes in.

    Memory counts as unknown where it was only found that all sizes fit, and there are larger ones now.
    """
    if settings.get(SIZES) == stored.get(SIZES) or SIZES not in stored:
        return machine
    before, now = max(_sizes(stored[SIZES])), max(_sizes(settings[SIZES]))
    if now > before and (machine.largest_batch_size is None or machine.largest_batch_size >= before):
        machine = replace(machine, memory=None, memory_is_known=False)
    return replace(machine, throughput_again=None)


def _sizes(told: str) -> list[int]:
    return [int(size) for size in told.split(",")]


def _both_rates(stored: str, asked: str) -> str:
    if is_list(stored) and is_list(asked):
        rates = {float(word) for told in (stored, asked) for word in told.split(",")}
        return ",".join(f"{rate:g}" for rate in sorted(rates))
    return stored if asked in stored.split(" and ") else f"{stored} and {asked}"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
