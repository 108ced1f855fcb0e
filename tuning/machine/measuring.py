"""What a search measures of its machine before and between its trials."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from search_spaces.stream import TrainingData
from tuning.machine.machine import Machine
from tuning.machine.memory import memory_of_search
from tuning.machine.noise import probe_noise
from tuning.machine.threads import ThreadChoice, choose_threads, could_pay
from tuning.machine.throughput import (
    CHOSEN,
    CHUNK_SECONDS,
    CHUNKS,
    KERAS,
    ThroughputFindings,
    probe_throughput,
    sizes_to_time,
)
from tuning.messages import ModelDescription
from tuning.run.asking import first_device
from tuning.run.executor import Executor
from tuning.trial import HyperparameterValue


class NoiseTraining(Protocol):
    """A training along which the noise scale is measured; a plan names it."""

    @property
    def batch_size(self) -> int:
        """Examples per update."""

    @property
    def learning_rate(self) -> float | None:
        """The learning rate; None for the model's own."""

    @property
    def seed(self) -> int:
        """The seed."""

    @property
    def examples(self) -> float:
        """The length of the training."""

    @property
    def hyperparameters(self) -> Mapping[str, HyperparameterValue]:
        """Values for the build function's `hp`, by name."""


class NothingToTime(ValueError):  # noqa: N818 (the name is the message)
    """No batch size could be timed; the message is one line."""


def with_memory(
    machine: Machine,
    executor: Executor,
    *,
    sizes: Sequence[int],
    data: TrainingData,
    model: ModelDescription,
    evaluation_batch_size: int,
    loop: str,
) -> Machine:
    """Find out which of a search's batch sizes fit, where the largest might not.

    Args:
        machine: What is known.
        executor: Idle.
        sizes: The batch sizes, ascending.
        data: What the search trains on.
        model: What it trains.
        evaluation_batch_size: Examples per validation step.
        loop: The loop of the trials.

    Raises:
        ValueError: If not even the smallest size fits.
    """
    found = memory_of_search(
        executor,
        first_device(executor).memory,
        sizes=sizes,
        data=data,
        description=model,
        evaluation_batch_size=evaluation_batch_size,
        loop=loop,
    )
    return replace(machine, memory=found, memory_is_known=True)


def with_threads(
    machine: Machine,
    executor: Executor,
    updates: Mapping[int, float],
    *,
    loop: str,
    n_train: int,
    evaluation_batch_size: int,
    places: int = 1,
) -> Machine:
    """Choose the CPU threads of each batch size, where a choice may pay; all threads elsewhere.

    Where one thread in each of several places does more, trials run there beside one another.

    Args:
        machine: What is known.
        executor: Idle.
        updates: Updates of all the search's trials, by batch size, ascending.
        loop: The loop of the trials.
        n_train: Training examples.
        evaluation_batch_size: Examples per validation step.
        places: How many trials may run beside one another.
    """
    if not could_pay(executor.devices(), updates, places):
        return replace(machine, threads=ThreadChoice())
    choice = choose_threads(
        executor,
        updates,
        loop=loop,
        n_train=n_train,
        evaluation_batch_size=evaluation_batch_size,
        places=places,
    )
    return replace(machine, threads=choice, workers=places if places > 1 and choice.pays_beside(places, updates) else 1)


def with_timings(
    machine: Machine,
    executor: Executor,
    *,
    sizes: Sequence[int],
    loop: str,
    epochs: int,
    hyperparameters: Mapping[str, HyperparameterValue],
    evaluation_batch_size: int,
) -> Machine:
    """Time updates at some batch sizes, nothing else running.

    That is the user's loop at each of them, and the other one at three. The user is taken to train the final model with
    plain `fit`, unless a loop of ours is asked for by name.

    Args:
        machine: What is known.
        executor: Idle.
        sizes: The batch sizes that may be tried; some up to the largest of them that fits are timed.
        loop: The loop of the trials.
        epochs: Epochs of a training, which a loop is chosen for.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.

    Raises:
        NothingToTime: If no batch size could be timed.
    """
    largest = sizes[-1] if machine.largest_batch_size is None else min(sizes[-1], machine.largest_batch_size)
    sizes = sizes_to_time(largest, first_device(executor).cards)
    begin = time.monotonic()
    found = probe_throughput(
        executor,
        sizes,
        loop=loop,
        epochs=epochs,
        hyperparameters=hyperparameters,
        evaluation_batch_size=evaluation_batch_size,
        rough=CHOSEN if series_of_user(loop) == KERAS else KERAS,
    )
    if not found.seconds(KERAS) or not found.seconds(CHOSEN):
        why = next(iter(found.failures.values()), "")
        raise NothingToTime(f"At least one batch size must be trainable; the first of {sizes} ended so: {why}")
    timed = CHUNKS * sum(max(CHUNK_SECONDS, row.throughput.seconds_per_update) for row in found.rows)
    started = max(0.0, time.monotonic() - begin - timed) / len(found.rows)
    return replace(machine, throughput=found, user_series=series_of_user(loop), seconds_to_start=started)


def with_timings_again(
    machine: Machine,
    executor: Executor,
    *,
    sizes: Sequence[int],
    loop: str,
    epochs: int,
    hyperparameters: Mapping[str, HyperparameterValue],
    evaluation_batch_size: int,
) -> Machine:
    """Time the user's loop once more, minutes later, at the batch sizes that are compared; the lesser time counts.

    Args:
        machine: What is known.
        executor: Idle.
        sizes: The batch sizes that were tried, ascending.
        loop: The loop of the trials.
        epochs: Epochs of a training.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
    """
    asked = KERAS if machine.user_series == KERAS else loop
    found = probe_throughput(
        executor,
        sizes,
        loop=asked,
        epochs=epochs,
        hyperparameters=hyperparameters,
        evaluation_batch_size=evaluation_batch_size,
    )
    return replace(machine, throughput_again=ThroughputFindings(found.rows, found.failures))


def with_noise(machine: Machine, executor: Executor, training: NoiseTraining, evaluation_batch_size: int) -> Machine:
    """Repeat a training under plain Keras and measure the gradient's noise scale on the way.

    Args:
        machine: What is known; its timings tell how long an update takes.
        executor: Idle.
        training: The training.
        evaluation_batch_size: Examples per validation step.
    """
    found = probe_noise(
        executor,
        batch_size=training.batch_size,
        updates=training.examples / training.batch_size,
        seconds_per_update=None if machine.user is None else machine.user.seconds(training.batch_size),
        seed=training.seed,
        learning_rate=training.learning_rate,
        hyperparameters=training.hyperparameters,
        evaluation_batch_size=evaluation_batch_size,
    )
    return replace(machine, noise=found)


def series_of_user(loop: str) -> str:
    """Return the series of timings by which the final model is taken to be trained: plain `fit`, or the loop asked for.

    >>> series_of_user("auto"), series_of_user("xla")
    ('keras', 'chosen')
    """
    return KERAS if loop in ("auto", KERAS) else CHOSEN
