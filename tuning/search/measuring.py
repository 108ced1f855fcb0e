"""What a staged search measures between its trainings: the machine before the first, the noise after the reference."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from tuning.machine.asking import ask_again
from tuning.machine.facts import MachineFacts, NoiseFacts, Timings
from tuning.machine.noise import NoiseFindings
from tuning.machine.throughput import CHOSEN, CHUNK_SECONDS, CHUNKS, KERAS, probe_throughput, sizes_to_time
from tuning.messages import NoiseScaleRequest, NoiseScales
from tuning.run.executor import Executor
from tuning.search.options import SearchArguments
from tuning.study.staged.reference import Reference
from tuning.trial import HyperparameterValue, TrialOutcome

_LONGEST_NOISE_TRAINING_S = 20.0


class NothingToTime(ValueError):  # noqa: N818 (the name is the message)
    """No batch size could be timed; the message is one line."""


def measure_machine(
    executor: Executor,
    arguments: SearchArguments,
    hyperparameters: Mapping[str, HyperparameterValue],
    *,
    loop: str,
    largest: int,
    largest_fitting: int | None,
) -> MachineFacts:
    """Time updates at some batch sizes, nothing else running.

    The user is taken to train the final model with plain `fit`, unless a loop of ours is asked for by name.

    Args:
        executor: Idle.
        arguments: Of the search.
        hyperparameters: Of the model.
        loop: Of the trials.
        largest: Batch size that may be tried.
        largest_fitting: That is known to fit into memory; None where none could fail to.

    Raises:
        NothingToTime: If no batch size could be timed.
    """
    sizes = sizes_to_time(largest)
    begin = time.monotonic()
    found = probe_throughput(
        executor,
        sizes,
        loop=loop,
        epochs=arguments.epochs,
        hyperparameters=hyperparameters,
        evaluation_batch_size=arguments.evaluation_batch_size,
    )
    keras, chosen = found.seconds(KERAS), found.seconds(CHOSEN)
    if not keras or not chosen:
        why = next(iter(found.failures.values()), "")
        raise NothingToTime(f"At least one batch size must be trainable; the first of {sizes} ended so: {why}")
    timed = CHUNKS * sum(max(CHUNK_SECONDS, row.throughput.seconds_per_update) for row in found.rows)
    started = max(0.0, time.monotonic() - begin - timed) / len(found.rows)
    user = keras if loop in ("auto", KERAS) else chosen
    return MachineFacts(largest_fitting, Timings(user), Timings(chosen), started)


def measure_again(
    executor: Executor,
    timings: Timings,
    sizes: Sequence[int],
    arguments: SearchArguments,
    hyperparameters: Mapping[str, HyperparameterValue],
    *,
    loop: str,
) -> Timings:
    """The user's loop timed once more, minutes later, at the batch sizes that are compared; the lesser time counts."""
    series, asked = (KERAS, KERAS) if loop in ("auto", KERAS) else (CHOSEN, loop)
    found = probe_throughput(
        executor,
        sizes,
        loop=asked,
        epochs=arguments.epochs,
        hyperparameters=hyperparameters,
        evaluation_batch_size=arguments.evaluation_batch_size,
    )
    return timings.least(Timings(found.seconds(series)))


def measure_noise(
    executor: Executor,
    reference: Reference,
    machine: MachineFacts,
    arguments: SearchArguments,
    hyperparameters: Mapping[str, HyperparameterValue],
    *,
    seed: int,
) -> NoiseFindings:
    """Repeat the best reference training up to the target under plain Keras, measuring the noise scale on the way.

    Where that would take over 20 s, only its beginning is repeated.

    Args:
        executor: Idle.
        reference: Its batch size, learning rate and length.
        machine: Tells how long an update takes.
        arguments: Of the search.
        hyperparameters: Of the model.
        seed: Of the reference training.
    """
    size = reference.batch_size
    updates = min(reference.examples / size, _LONGEST_NOISE_TRAINING_S / machine.user.seconds(size))
    request = NoiseScaleRequest(
        "noise-scale",
        size,
        max(1, round(updates)),
        seed=seed,
        hyperparameters=dict(hyperparameters),
        evaluation_batch_size=arguments.evaluation_batch_size,
        learning_rate=reference.learning_rate,
    )
    answer = ask_again(executor, request)
    if isinstance(answer, NoiseScales):
        return NoiseFindings(answer.points)
    assert isinstance(answer, TrialOutcome)
    return NoiseFindings(reason=answer.reason)


def read_noise(found: NoiseFindings) -> NoiseFacts:
    """The noise scale of a training: its mean, else its last known value, else what bounds it from below."""
    if found.last is not None:
        return NoiseFacts(found.mean or found.last.value)
    bound = max((point.low for point in found.points if point.low is not None), default=None)
    return NoiseFacts(at_least=bound, reason=found.reason or "the gradient cannot be told from 0 with so few examples")
