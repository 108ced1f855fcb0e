"""Before a search: a worker tells what is built; objective, space and settings follow from that."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.batch_size import FULL, BatchSize
from search_spaces.entry import Entry
from search_spaces.identity import fingerprint
from search_spaces.learning_rate import LearningRate
from search_spaces.space import SearchSpace, declared_batch_sizes, resolve_learning_rate
from search_spaces.stream import Stream, TrainingData
from tuning.messages import DescribeRequest, ModelDescription
from tuning.objective import DIRECTIONS, Objective, infer_direction
from tuning.passwords import without_passwords
from tuning.run.asking import Question
from tuning.run.executor import (
    Device,
    Executor,
)
from tuning.search.options import SearchArguments
from tuning.search.sharing import shared_sizes
from tuning.show.snippet import CARDS, MADE
from tuning.trial import TrialOutcome

_DESCRIBE_ID = "describe"
_PATIENCE_S = 3600.0  # building may download or prepare something


class UnusableModelError(ValueError):
    """A build function that builds nothing usable; the message is one line, the log tail is kept beside it."""

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


@dataclass(frozen=True)
class Setup:
    """What a search knows before its first trial.

    Args:
        arguments: What it trains on, and for how long.
        model: What the build function builds.
        objective: The metric that decides.
        space: What may be tried.
        cards: How many cards share each training.
    """

    arguments: SearchArguments
    model: ModelDescription
    objective: Objective
    space: SearchSpace
    cards: int = 1

    @property
    def n_train(self) -> int:
        """Training examples in an epoch."""
        return self.arguments.data.epoch_length


def ask_for_model(executor: Executor, hyperparameters: Mapping[str, Any] | None = None) -> Question:
    """Have a worker build the model and try it on a few examples; `described` tells what it finds.

    Args:
        executor: Perhaps still starting.
        hyperparameters: A `keras_tuner.HyperParameters.get_config()`; None for those that the build function declares.
    """
    return Question(executor, DescribeRequest(_DESCRIBE_ID, hyperparameters or {}), patience_s=_PATIENCE_S)


def described(question: Question, meanwhile: Callable[[], None] = lambda: None) -> ModelDescription:
    """Return what a worker has found that was asked for the model.

    Args:
        question: From `ask_for_model`.
        meanwhile: What this process may do while it waits.

    Raises:
        UnusableModelError: If the build function raises or returns no compiled model, or that does not take the data.
    """
    answer = question.answer(meanwhile)
    if isinstance(answer, ModelDescription):
        return answer
    assert isinstance(answer, TrialOutcome)
    raise UnusableModelError(answer.reason, answer.log_tail)


def resolve_objective(asked: Any, description: ModelDescription) -> Objective:
    """Return the objective in force: a name that the model reports, and its direction.

    Args:
        asked: A name, "name:max", "name:min", a `keras_tuner.Objective`, or None for `val_accuracy` where the model
            reports it and `val_loss` where it does not.
        description: The model.

    Raises:
        ValueError: If the model does not report it, or its direction is not known.
    """
    name, direction = _split_objective(asked, description)
    if name not in description.objectives:
        raise ValueError(
            f"The objective must be a metric that the model reports: {', '.join(description.objectives)}; got {name!r}."
        )
    direction = direction or infer_direction(name)
    if direction not in DIRECTIONS:
        raise ValueError(
            f"The objective needs a direction, max or min, which {name!r} does not tell; got {direction or 'none'!r}. "
            f"Write {name}:max or {name}:min."
        )
    return Objective(name, direction)


def resolve_space(
    description: ModelDescription,
    entries: tuple[Entry, ...],
    *,
    batch_size: BatchSize | None,
    default_batch_size: BatchSize | None = None,
    learning_rate: LearningRate | None,
    n_train: int,
    cards: int = 1,
) -> SearchSpace:
    """The space in force for a model and a number of training examples.

    Batch sizes are those that were asked for, else those that the build function declares, else the method's. A
    schedule that the build function fits to the batch size itself is left alone, rates and all.

    Args:
        description: The model.
        entries: The hyperparameters that are searched, parents before children.
        batch_size: The sizes asked for.
        default_batch_size: The method's.
        learning_rate: The rates asked for.
        n_train: Training examples.
        cards: How many cards share each training, and its batches equally.

    Raises:
        ValueError: If a batch size exceeds the data, none can be shared by the cards, or learning rates are asked for
            although a schedule rules.
    """
    declared = {entry.name: entry for entry in entries}.get(description.learning_rate_name or "")
    own = None if description.schedule and description.tells_batch_size else description.learning_rate
    sizes = batch_size or declared_batch_sizes(entries)
    within = (sizes or default_batch_size or BatchSize()).within(n_train)
    return SearchSpace(
        batch_size=shared_sizes(within, cards, asked=sizes is not None),
        learning_rate=resolve_learning_rate(learning_rate, model_rate=own, declared=declared),
        optimizer=description.optimizer_kind or description.optimizer,
        model_rate=own,
        entries=entries,
    )


def settings_of(kind: str, setup: Setup, *, seeds: int, loop: str) -> dict[str, str]:
    """Return what makes two searches the same, so that the second continues the first."""
    space, model, arguments = setup.space, setup.model, setup.arguments
    entries = [{"class_name": entry.kind, "config": entry.config} for entry in space.entries]
    return {
        "search": kind,
        "objective": setup.objective.name,
        "mode": setup.objective.direction,
        "epochs": str(arguments.epochs),
        "batch_sizes": ",".join(map(str, space.batch_size.values())),
        "learning_rate": _tell_rate(space, model.schedule),
        "seeds": str(seeds),
        "loop": loop,
        "model": f"{model.parameters} parameters, {model.optimizer}, learning rate {model.learning_rate}",
        "hyperparameters": _digest(entries) if entries else "none",
        "data": tell_data(arguments.data),
        **({MADE: how} if (how := how_made(arguments.data)) else {}),
        "evaluation_batch_size": str(arguments.evaluation_batch_size),
        **({CARDS: str(setup.cards)} if setup.cards > 1 else {}),
    }


def how_made(data: TrainingData) -> str:
    """Return how examples are made that no array holds: "loaded" of their keys, or "streamed"; empty for arrays."""
    if isinstance(data, Stream):
        return "streamed"
    return "" if data.load is None else "loaded"


def tell_data(data: TrainingData) -> str:
    """Return the setting of a study that tells its data: how many examples, and the fingerprint of them all."""
    part = "" if data.epoch_length == data.n_train else f", {data.epoch_length} in an epoch"
    return f"{data.n_train} + {data.n_val} examples{part}, {fingerprint(data)}"


def check_sizes(sizes: BatchSize | None, data: TrainingData) -> None:
    """Refuse batch sizes that were asked for and that the data cannot have.

    Raises:
        ValueError: If one exceeds the data, or is all of a stream.
    """
    if sizes is None:
        return
    if isinstance(data, Stream) and FULL in (sizes.high, *sizes.sizes):
        raise ValueError(
            f"'{FULL}' puts all examples into one batch, and a Stream never holds them all; got '{FULL}'. Give numbers."
        )
    sizes.within(data.epoch_length)


def _split_objective(asked: Any, description: ModelDescription) -> tuple[str, str | None]:
    if asked is None:
        return ("val_accuracy" if "val_accuracy" in description.objectives else "val_loss"), None
    if hasattr(asked, "direction"):  # a `keras_tuner.Objective`, or ours
        return asked.name, asked.direction
    name, _, direction = str(asked).partition(":")
    return name, direction or None


def _tell_rate(space: SearchSpace, schedule: str) -> str:
    rate = space.learning_rate
    if rate is None:
        return "the model's schedule"
    if rate.values:
        return ",".join(f"{value:g}" for value in rate.values)
    own = "the model's own" if not schedule else f"the highest of {schedule}"
    base = own if rate.base is None else f"{rate.base:g}"
    spread = "" if len(rate.spread) == 1 else " times " + ",".join(f"{multiple:g}" for multiple in rate.spread)
    return f"{base} at batch size {rate.at_batch_size}, {rate.rule_for(space.optimizer)} rule{spread}"


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=6).hexdigest()


_PACKAGES = ("batch-size-tuner", "tensorflow", "keras", "keras-tuner", "optuna", "mlflow", "numpy")
_COMMANDS = ("batch-size", "cli.py")


def provenance(devices: Iterable[Device]) -> dict[str, str]:
    """Return the command and the versions, as settings of a study: text without any path of this machine's programs.

    `command` is empty where the search was started from a notebook or a script of the user's; `versions` has a line
    for each kind of device, as the workers there tell it, for Python and for the packages that decide what is computed.
    """
    name = Path(sys.argv[0]).name
    return {
        "command": without_passwords(f"batch-size {shlex.join(sys.argv[1:])}") if name in _COMMANDS else "",
        "versions": "\n".join(_versions(devices)),
    }


def _versions(devices: Iterable[Device]) -> list[str]:
    found = list(dict.fromkeys(map(_machine, devices)))
    found.append(f"python {platform.python_version()}")
    for package in _PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:  # run from a checkout, or a variant such as tensorflow-cpu
            continue
    return found


def _machine(device: Device) -> str:
    facts = "".join(f", {name} {value}" for name, value in device.facts)
    return f"machine {device.kind}, {device.cores} cores{facts}"
