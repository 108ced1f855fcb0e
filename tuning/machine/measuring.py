"""What a search measures of its machine, and the space that is left of it: what fits, whole or in micro-batches."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from search_spaces.stream import TrainingData
from tuning.machine.machine import Machine
from tuning.machine.memory import MemoryFindings, memory_of_search
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
from tuning.messages import Event, ModelDescription, Request
from tuning.run.asking import first_device
from tuning.run.executor import Device, Executor
from tuning.trial import HyperparameterValue, Status, Trial, TrialOutcome


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


PREDICTED = "predicted_peak_memory_bytes"


class CappedExecutor:
    """An executor around another; a trial that does not fit ends at once as out of memory, or is trained in parts.

    One that fits and yet runs out of memory on a GPU is lost, to run again: another program may have taken memory of
    the card, or the worker's pool lies in pieces. That says nothing of the batch size.

    Args:
        executor: Runs what fits.
        memory: What fits; None where everything does.
        accumulate: Whether a batch that does not fit is trained as micro-batches, the largest that fit and divide it.
        kind: The kind of device that was measured; None for all.
    """

    def __init__(
        self,
        executor: Executor,
        memory: MemoryFindings | None,
        *,
        accumulate: bool = False,
        kind: str | None = None,
    ) -> None:
        self._executor, self._kind = executor, kind
        self._memory = memory
        self._accumulate = accumulate
        self._refused: list[Event] = []
        self._running: dict[str, tuple[Trial, str]] = {}

    def devices(self) -> tuple[Device, ...]:
        """Return the devices of the inner executor."""
        return self._executor.devices()

    def submit(self, request: Trial | Request, device: str) -> None:
        """Start a request; a trial that does not fit is refused or divided."""
        if not isinstance(request, Trial):
            self._executor.submit(request, device)
        elif self._memory is None or self._memory.fits(request.batch_size):
            self._run(request, device)
        elif self._accumulate:
            micro = largest_divisor(request.batch_size, self._memory.largest_batch_size)
            self._run(replace(request, instructions=replace(request.instructions, micro_batch_size=micro)), device)
        else:
            reason = _why_not(request, self._memory)
            self._refused.append(TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason=reason))

    def events(self, timeout_s: float) -> list[Event]:
        """Return what has happened; the outcome of a trial tells what memory was expected, too."""
        refused, self._refused = self._refused, []
        return refused or [self._judged(event) for event in self._executor.events(timeout_s)]

    def stop(self, trial_id: str) -> None:
        """Ask a running trial to stop."""
        self._executor.stop(trial_id)

    def renew(self, device: str) -> None:
        """Replace a device's worker."""
        self._executor.renew(device)

    def close(self) -> None:
        """End every worker."""
        self._executor.close()

    def _run(self, trial: Trial, device: str) -> None:
        self._running[trial.trial_id] = (trial, device)
        self._executor.submit(trial, device)

    def _judged(self, event: Event) -> Event:
        """Return an event; of a trial's outcome with the memory that was expected, and lost where that was there."""
        if not isinstance(event, TrialOutcome) or event.trial_id not in self._running:
            return event
        trial, device = self._running.pop(event.trial_id)
        if event.status is Status.OUT_OF_MEMORY and self._is_measured_gpu(device):
            reason = f"It fits, but another program may have held memory of the card: {event.reason}"
            return replace(event, status=Status.LOST, reason=reason)
        held = trial.instructions.micro_batch_size or trial.batch_size
        predicted = None if self._memory is None else self._memory.predicted_bytes(held)
        if predicted is None:
            return event
        return replace(event, measurements={**event.measurements, PREDICTED: float(predicted)})

    def _is_measured_gpu(self, device: str) -> bool:
        found = next((known for known in self.devices() if known.name == device), None)
        return found is not None and found.is_gpu and self._kind in (None, found.kind)


def _why_not(trial: Trial, memory: MemoryFindings) -> str:
    limit, predicted = memory.limit, memory.predicted_bytes(trial.batch_size)
    needs = "" if predicted is None else f" and would need about {predicted:,} bytes"
    return (
        f"Not run: batch size {trial.batch_size} is above {memory.largest_batch_size}, the largest that "
        f"fits{needs}; the limit is {limit.bytes:,} bytes ({limit.source})."
    )


def largest_divisor(batch_size: int, limit: int) -> int:
    """Return the largest number up to `limit`, which is at least 1, that divides a batch size.

    >>> largest_divisor(1024, 300)
    256
    """
    return next(size for size in range(min(batch_size, limit), 0, -1) if batch_size % size == 0)
