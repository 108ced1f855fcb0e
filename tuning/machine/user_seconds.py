"""Seconds per update of the loop that the user will train with, at the batch sizes that a search has tried.

The clocks of trials say nothing of them: trials may run beside one another, and beside whatever else a machine does.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tuning.machine.machine import Machine
from tuning.machine.measuring import series_of_user
from tuning.machine.throughput import CHUNK_SECONDS, CHUNKS, KERAS, Measured, ThroughputFindings, answers
from tuning.messages import MOST_OF_OTHERS, Throughput, ThroughputRequest
from tuning.run.executor import Executor
from tuning.stats.costs import RATE_ERROR
from tuning.trial import HyperparameterValue

_MOST_COUNTED = 0.9  # a share of others that is counted as no more, so that its logarithm is finite
_OF_A_MEDIAN = 1.25  # the standard error of a median over that of a mean, sqrt(pi/2)


@dataclass(frozen=True)
class Tried:
    """A batch size that was tried, and how it will be trained.

    Args:
        batch_size: Examples per update.
        hyperparameters: Values for the build function's `hp`, by name.
        threads: The CPU threads; None for all.
    """

    batch_size: int
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    threads: int | None = None


def with_user_seconds(
    machine: Machine,
    executor: Executor,
    tried: Sequence[Tried],
    *,
    loop: str,
    epochs: int,
    evaluation_batch_size: int = 256,
    times_input: bool = False,
    anew: bool = False,
) -> Machine:
    """Time the user's loop at each batch size in three slices of .2 s, one size after another, nothing else running.

    What was timed before and not disturbed is not timed again. Sizes that do not fit, or that would take too long, are
    left out.

    Args:
        machine: What is known.
        executor: Idle.
        tried: Ascending.
        loop: The loop of the trials.
        epochs: The epochs of the training that "auto" chooses its loop for.
        evaluation_batch_size: Examples per validation step.
        times_input: Whether the input pipeline is timed apart, too.
        anew: Whether to time all sizes again, such as of a model that varies.
    """
    series = series_of_user(loop)
    before = machine.throughput if machine.throughput is not None and not anew else ThroughputFindings((), {})
    known = {row.batch_size for row in before.rows if row.series == series and not row.throughput.is_disturbed}
    limit = machine.largest_batch_size or max((each.batch_size for each in tried), default=0)
    requests = (
        ThroughputRequest(
            f"seconds-{each.batch_size}",
            each.batch_size,
            loop=KERAS if series == KERAS else loop,
            epochs=epochs,
            hyperparameters=dict(each.hyperparameters),
            evaluation_batch_size=evaluation_batch_size,
            chunks=CHUNKS,
            chunk_seconds=CHUNK_SECONDS if len(tried) > 1 else CHUNK_SECONDS / 2,  # one alone is only told
            threads=each.threads,
            times_input=times_input,
        )
        for each in tried
        if each.batch_size not in known and each.batch_size <= limit
    )
    found = {(row.series, row.batch_size): row for row in before.rows}
    failures = dict(before.failures)
    for request, answer in answers(executor, requests):
        if isinstance(answer, Throughput):
            row = Measured(series, answer)
            found[series, request.batch_size] = _less_disturbed(found.get((series, request.batch_size)), row)
        else:
            failures[f"{series} {request.batch_size}"] = answer.reason
    findings = ThroughputFindings(tuple(found.values()), failures)
    return replace(machine, throughput=findings, user_series=series) if findings.rows else machine


def _less_disturbed(before: Measured | None, now: Measured) -> Measured:
    if before is None or (now.throughput.others_share or 0.0) <= (before.throughput.others_share or 0.0):
        return now
    return before


def user_threads(machine: Machine, batch_size: int, trained_with: HyperparameterValue, cores: int) -> int | None:
    """Return the CPU threads that the user will train a batch size with; None for all.

    They are those of its trials, unless these had one each because they ran beside one another.

    Args:
        machine: What is known.
        batch_size: Examples per update.
        trained_with: What a trial's outcome tells of its threads.
        cores: Of the machine.
    """
    if machine.workers > 1:
        return None if machine.threads is None else machine.threads.threads(batch_size)
    return trained_with if isinstance(trained_with, int) and trained_with < cores else None


def rates_of_user(machine: Machine, batch_sizes: Iterable[int]) -> dict[int, float] | None:
    """Return the examples per second of the user's loop by batch size, as measured, or from the sizes beside it.

    It is None where nothing was measured.
    """
    timings = machine.user
    if timings is None:
        return None
    own = timings.seconds_per_update
    return {size: size / (own[size] if size in own else timings.seconds(size)) for size in batch_sizes}


def errors_of_user(machine: Machine, batch_sizes: Iterable[int]) -> dict[int, float]:
    """Return the standard error of ln(seconds per update) by batch size, of those that were timed.

        e^2 = 0.05^2 + (1.25 s)^2/n + d^2

    0.05 is what timings minutes apart differ by, which slices of one timing cannot show. s is the spread of ln(seconds)
    between the n slices of a timing, pooled over the batch sizes, 0 where nothing was timed twice. d = -ln(1 - share)
    where others took so much of the machine that the seconds may be theirs, else 0.

    Args:
        machine: What is known.
        batch_sizes: Those to be told of.
    """
    timed = {row.batch_size: row.throughput for row in _rows_of_user(machine)}
    spread = _spread_of_slices(timed.values())
    found = {}
    for size in batch_sizes:
        if size in timed:
            slices = max(1, len(timed[size].repeats))
            share = min(timed[size].others_share or 0.0, _MOST_COUNTED) if timed[size].is_disturbed else 0.0
            found[size] = math.hypot(RATE_ERROR, _OF_A_MEDIAN * spread / math.sqrt(slices), math.log1p(-share))
    return found


def _spread_of_slices(timed: Iterable[Throughput]) -> float:
    logs = [[math.log(seconds) for seconds in each.repeats] for each in timed if len(each.repeats) > 1]
    squares = sum(statistics.variance(each) * (len(each) - 1) for each in logs)
    degrees = sum(len(each) - 1 for each in logs)
    return math.sqrt(squares / degrees) if degrees else 0.0


def input_of_user(machine: Machine) -> dict[int, tuple[float, float]]:
    """Return the seconds of a batch in the input pipeline alone and those of an update, by batch size, where known."""
    return {
        row.batch_size: (alone, row.throughput.seconds_per_update)
        for row in _rows_of_user(machine)
        if (alone := row.throughput.input_seconds_per_update) is not None
    }


def note_on_disturbance(machine: Machine, batch_sizes: Iterable[int]) -> str:
    """Return a sentence that names the batch sizes whose every timing was disturbed by other work; empty for none."""
    shares: dict[int, float] = {}
    for row in _rows_of_user(machine):
        share = row.throughput.others_share or 0.0
        shares[row.batch_size] = min(share, shares.get(row.batch_size, share))
    disturbed = {size: shares[size] for size in batch_sizes if size in shares and shares[size] > MOST_OF_OTHERS}
    if not disturbed:
        return ""
    sizes = ", ".join(map(str, disturbed))
    timed = f"batch sizes {sizes} were" if len(disturbed) > 1 else f"batch size {sizes} was"
    share = max(disturbed.values())
    return f"Other work took up to {share:.0%} of the processors while {timed} timed, so that seconds may be too long."


def _rows_of_user(machine: Machine) -> Iterator[Measured]:
    for findings in (machine.throughput, machine.throughput_again):
        if findings is not None:
            yield from (row for row in findings.rows if row.series == machine.user_series)
