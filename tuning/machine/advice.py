"""TrainingAdvice: how to train the final model, with the throughput that was measured beside that of plain `fit`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tuning.machine.machine import Machine
from tuning.machine.throughput import CHUNK_SECONDS, CHUNKS, KERAS
from tuning.machine.user_seconds import user_threads
from tuning.messages import Throughput, ThroughputRequest
from tuning.run.asking import ask, first_device
from tuning.run.executor import Executor
from tuning.stats.recommendation import Recommendation
from tuning.trial import Status, Trial


@dataclass(frozen=True)
class TrainingAdvice:
    """The settings with which the recommended batch size was measured, nothing else running.

    Args:
        batch_size: Examples per update.
        loop: The loop that trained the trials: "keras", "device" or "xla".
        steps_per_execution: Updates per call of the compiled function.
        jit_compile: Whether XLA compiled it.
        examples_per_second: Steady training throughput of that loop.
        plain_fit_examples_per_second: The same of plain `model.fit`, compiled as the build function compiles.
        threads: The threads of the CPU, for both; None for a thread per core.
    """

    batch_size: int
    loop: str
    steps_per_execution: int
    jit_compile: bool
    examples_per_second: float
    plain_fit_examples_per_second: float
    threads: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    def tell(self) -> str:
        """Two sentences for people."""
        plain, ours = self.plain_fit_examples_per_second, self.examples_per_second
        first = (
            f"Plain model.fit(batch_size={self.batch_size}) trains {plain:,.0f} examples per second "
            f"here{self._tell_threads()}."
        )
        if self.loop == KERAS:
            return first
        return (
            f"{first} The trials used the {self.loop!r} loop, at {ours:,.0f} ({ours / plain:.1f} times as many); "
            f"the nearest that Keras itself offers is compile(steps_per_execution={self.steps_per_execution}, "
            f"jit_compile={self.jit_compile})."
        )

    def _tell_threads(self) -> str:
        if self.threads is None:
            return ""
        number = "one CPU thread" if self.threads == 1 else f"{self.threads} CPU threads"
        return (
            f" with {number}, as in the trials: start Python with TF_NUM_INTRAOP_THREADS={self.threads} and "
            f"TF_NUM_INTEROP_THREADS={self.threads}"
        )


def advise(
    executor: Executor, recommendation: Recommendation, trials: Iterable[Trial], machine: Machine, *, epochs: int
) -> TrainingAdvice | None:
    """Return how fast plain `fit` and the trials' loop train the recommended setting; None if it cannot be measured.

    Args:
        executor: Idle; its first device is used.
        recommendation: Whose batch size and hyperparameters are measured.
        trials: The study's trials.
        machine: What was timed already is not timed again.
        epochs: Epochs of a trial.
    """
    outcomes = [trial.outcome for trial in trials if trial.outcome is not None and _matches(trial, recommendation)]
    if not any(outcome.examples_per_second for outcome in outcomes):
        return None
    ours, settings = outcomes[0].loop, outcomes[0].settings
    size = recommendation.batch_size
    threads = user_threads(machine, size, settings.get("intra_op_threads"), first_device(executor).cores)

    def rate(loop: str) -> float | None:
        known = machine.least_seconds(size, loop)
        return size / known if known else _measure(executor, recommendation, loop, epochs, threads)

    plain = rate(KERAS)
    own = plain if ours == KERAS else rate(ours)
    if plain is None or own is None:
        return None
    return TrainingAdvice(
        batch_size=size,
        loop=ours,
        steps_per_execution=int(settings.get("steps_per_execution") or 1),
        jit_compile=bool(settings.get("jit_compile")),
        examples_per_second=own,
        plain_fit_examples_per_second=plain,
        threads=threads,
    )


def _matches(trial: Trial, recommendation: Recommendation) -> bool:
    return (
        trial.status is Status.COMPLETED
        and trial.batch_size == recommendation.batch_size
        and dict(trial.hyperparameters) == dict(recommendation.hyperparameters)
    )


def _measure(
    executor: Executor, recommendation: Recommendation, loop: str, epochs: int, threads: int | None
) -> float | None:
    request = ThroughputRequest(
        f"throughput-{loop}",
        recommendation.batch_size,
        loop=loop,
        epochs=epochs,
        hyperparameters=dict(recommendation.hyperparameters),
        chunks=CHUNKS,
        chunk_seconds=CHUNK_SECONDS / 2,  # it is told, and decides nothing
        threads=threads,
        times_input=False,
    )
    answer = ask(executor, request)
    return answer.batch_size / answer.seconds_per_update if isinstance(answer, Throughput) else None
