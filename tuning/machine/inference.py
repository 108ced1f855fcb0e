"""Inference by batch size: latency, throughput and memory as measured, and the size to serve with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuning.messages import LEAST_CALLS_FOR_P95, Inference, InferenceRequest, Measurement
from tuning.run.asking import ask_again
from tuning.run.executor import Executor
from tuning.trial import Status, TrialOutcome

LONGEST_LATENCY_S = 10.0
"""The longest bound that is taken: twenty calls of a longer one would outlast the patience with a worker."""

SECONDS_PER_SIZE = 5.0
"""How long the calls of one size are timed at most, unless twenty calls of the bound's length last longer."""

LEAST_RISE = 0.02
"""The share by which the throughput must have risen over the last sizes for larger ones to be measured."""

_SIZES_TO_RISE = 3
_UNITS = {"us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1.0}


def parse_latency(text: str) -> float:
    """Read a latency such as "20ms", "0.5 s", "800us" or "20", which is in milliseconds, and return seconds.

    Raises:
        ValueError: If it is no such time, not above 0, or longer than 10 s.

    >>> parse_latency("0.5s")
    0.5
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(us|ms|s|)\s*", text, re.IGNORECASE)
    seconds = 0.0 if match is None else float(match[1]) * _UNITS[match[2].lower()]
    if not 0 < seconds <= LONGEST_LATENCY_S:
        raise ValueError(
            f"--latency must be a time above 0 and at most {LONGEST_LATENCY_S:g}s, such as 20ms, 0.5s, or 20 for "
            f"milliseconds; got {text!r}. Write the number with its unit."
        )
    return seconds


@dataclass(frozen=True)
class InferencePoint:
    """What is known of one batch size.

    Args:
        batch_size: Examples per call.
        measured: What a call costs; None where that could not be measured.
        reason: Why it could not; empty if it could.
        status: How the measuring ended.
    """

    batch_size: int
    measured: Inference | None = None
    reason: str = ""
    status: Status = Status.COMPLETED

    def is_within(self, bound_s: float) -> bool:
        """Return whether the p95 latency is known and does not exceed the bound."""
        p95 = None if self.measured is None else self.measured.latency_p95_s
        return p95 is not None and p95 <= bound_s

    def exceeds(self, bound_s: float) -> bool:
        """Return whether the p95 latency is known to exceed the bound; it does where half of the calls do."""
        if self.measured is None:
            return False
        p95 = self.measured.latency_p95_s
        return (self.measured.latency_p50_s if p95 is None else p95) > bound_s

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; null where something was not measured."""
        found = self.measured
        return {
            "batch_size": self.batch_size,
            "calls": 0 if found is None else found.calls,
            "examples_per_second": None if found is None else found.examples_per_second,
            "latency_p50_s": None if found is None else found.latency_p50_s,
            "latency_p95_s": None if found is None else found.latency_p95_s,
            "peak_memory_bytes": None if found is None else found.peak_memory_bytes,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class InferenceFindings:
    """What inference costs by batch size. The points are what was measured; no line goes through a sawtooth.

    Args:
        points: By ascending batch size.
        n_examples: The examples of the data, which no batch exceeds.
        bound_s: The bound on the p95 latency of a call, in seconds; None for none.
    """

    points: tuple[InferencePoint, ...]
    n_examples: int
    bound_s: float | None = None

    @property
    def measured(self) -> tuple[Inference, ...]:
        """What was measured, by ascending batch size."""
        return tuple(point.measured for point in self.points if point.measured is not None)

    @property
    def within(self) -> tuple[Inference, ...]:
        """What was measured of the sizes that are within the bound; of all without a bound."""
        if self.bound_s is None:
            return self.measured
        return tuple(p.measured for p in self.points if p.measured is not None and p.is_within(self.bound_s))

    @property
    def fastest(self) -> Inference | None:
        """The highest throughput within the bound, of equal ones that of the smallest size; None if there is none."""
        return max(self.within, key=lambda found: found.examples_per_second, default=None)

    @property
    def best(self) -> Inference | None:
        """The largest size within the bound, without a bound the one of the highest throughput; None for none."""
        if self.bound_s is None:
            return self.fastest
        return max(self.within, key=lambda found: found.batch_size, default=None)

    @property
    def ended_by(self) -> str:
        """Why no larger size was measured, as `reason_to_end` tells."""
        return reason_to_end(self.points, self.n_examples, self.bound_s)

    @property
    def measurement(self) -> Measurement:
        """What the record shows of it; the step of a series is the batch size."""
        best = self.best
        values = {} if best is None else {"inference_batch_size": float(best.batch_size)}
        if self.bound_s is not None:
            values["latency_bound_seconds"] = self.bound_s
        named = (
            ("inference_examples_per_second", "examples_per_second"),
            ("latency_p50_seconds", "latency_p50_s"),
            ("latency_p95_seconds", "latency_p95_s"),
            ("inference_peak_memory_bytes", "peak_memory_bytes"),
            ("inference_calls", "calls"),
        )
        series = (
            (name, float(getattr(found, attribute)), found.batch_size)
            for name, attribute in named
            for found in self.measured
            if getattr(found, attribute) is not None
        )
        return Measurement("inference", values=values, series=tuple(series), reason=self._reason)

    @property
    def _reason(self) -> str:
        """Why nothing could be measured; empty if something was."""
        return "" if self.measured else next((point.reason for point in self.points), "")

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; null where something is unknown."""
        best = self.best
        return {
            "batch_size": None if best is None else best.batch_size,
            "latency_bound_s": self.bound_s,
            "ended_by": self.ended_by,
            "points": [point.to_json() for point in self.points],
        }


def reason_to_end(points: Sequence[InferencePoint], n_examples: int, bound_s: float | None) -> str:
    """Return why no size above the last point's should be measured; empty while one should, twice the last.

    - "memory": the last size ran out of memory, as all larger ones would.
    - "failure": the last size failed after others had been measured.
    - "latency": the last two sizes exceed the bound. One alone may be the upper edge of a tooth of the saw.
    - "throughput": without a bound, none of the last three sizes has 2 % more than the best before them.
    - "time": one call of the next size would likely last longer than the calls of a size may.
    - "data": the next batch would hold more examples than the data.

    Args:
        points: By ascending batch size, each twice the one before.
        n_examples: The examples of the data.
        bound_s: The bound on the p95 latency in seconds; None for none.
    """
    if not points:
        return ""
    last, have_some = points[-1], any(point.measured is not None for point in points)
    checks = {
        "memory": last.status is Status.OUT_OF_MEMORY,
        "failure": last.measured is None and have_some,
        "latency": bound_s is not None and len(points) > 1 and all(point.exceeds(bound_s) for point in points[-2:]),
        "throughput": bound_s is None and _is_flat(points),
        "time": last.measured is not None and 2 * last.measured.latency_p50_s > most_seconds(bound_s),
        "data": 2 * last.batch_size > n_examples,
    }
    return next((name for name, is_so in checks.items() if is_so), "")


def _is_flat(points: Sequence[InferencePoint]) -> bool:
    rates = [point.measured.examples_per_second for point in points if point.measured is not None]
    before, after = rates[:-_SIZES_TO_RISE], rates[-_SIZES_TO_RISE:]
    return bool(before) and max(after) < (1 + LEAST_RISE) * max(before)


def most_seconds(bound_s: float | None) -> float:
    """Return how long the calls of one size are timed: 5 s, or as long as twenty calls within the bound may last."""
    return max(SECONDS_PER_SIZE, LEAST_CALLS_FOR_P95 * (bound_s or 0.0))


def probe_inference(
    executor: Executor,
    *,
    n_examples: int,
    bound_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> InferenceFindings:
    """Measure batch sizes 1, 2, 4 and so on, one after another, with nothing else running.

    Args:
        executor: Whose first device measures; its others must be idle. Its workers should be held to the limit.
        n_examples: The examples of the data; no batch is larger.
        bound_s: The bound on the p95 latency in seconds; None for none.
        tell: Told what is going on, one line at a time.
    """
    points: list[InferencePoint] = []
    size = 1
    while not reason_to_end(points, n_examples, bound_s):
        tell(f"inference at batch size {size}")
        request = InferenceRequest(f"inference-{size}", size, most_seconds=most_seconds(bound_s))
        points.append(_read(ask_again(executor, request), size))
        size *= 2
    return InferenceFindings(tuple(points), n_examples, bound_s)


def _read(answer: object, batch_size: int) -> InferencePoint:
    if isinstance(answer, Inference):
        return InferencePoint(batch_size, answer)
    assert isinstance(answer, TrialOutcome)
    return InferencePoint(batch_size, reason=answer.reason, status=answer.status)
