"""Check: one promise, how it is measured, and the result; and the list of all that a card is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from tuning.gpu_check.bench import Bench
from tuning.loops.failures import one_line


class Verdict(StrEnum):
    """What came of a check. One that is skipped says what is missing."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"


class Skipped(Exception):  # noqa: N818 (the name is the message)
    """A check needs something that is not there; the message names it."""


@dataclass(frozen=True)
class Finding:
    """What a check measured, and whether that is enough.

    Args:
        holds: Whether the promise holds.
        measured: What was measured, in a few words.
        detail: Single numbers by name.
    """

    holds: bool
    measured: str
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One promise.

    Args:
        id: Its letter and number.
        title: What is promised.
        threshold: When it holds.
        run: Measures it.
        is_quick: Whether it is part of a quick run.
    """

    id: str
    title: str
    threshold: str
    run: Callable[[Bench], Finding]
    is_quick: bool = True


@dataclass(frozen=True)
class Result:
    """How a check ended; the fields of the JSON file."""

    id: str
    title: str
    status: Verdict
    measured: str
    threshold: str
    seconds: float
    detail: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def carry_out(check: Check, bench: Bench, now: Callable[[], float] = time.monotonic) -> Result:
    """Return the result of a check; whatever it raises is a failure of the check."""
    begin = now()
    try:
        finding = check.run(bench)
        verdict, measured = (Verdict.PASS if finding.holds else Verdict.FAIL), finding.measured
    except Skipped as why:
        finding, verdict, measured = None, Verdict.SKIP, str(why)
    except Exception as error:
        finding, verdict, measured = None, Verdict.FAIL, one_line(error)
    detail = {} if finding is None else finding.detail
    return Result(check.id, check.title, verdict, measured, check.threshold, round(now() - begin, 1), detail)


def summary(results: Iterable[Result]) -> dict[str, int]:
    """Return how many checks passed, failed and were skipped."""
    verdicts = [result.status for result in results]
    return {f"{verdict}{'ped' if verdict is Verdict.SKIP else 'ed'}": verdicts.count(verdict) for verdict in Verdict}
