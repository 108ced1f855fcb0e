"""Failures told apart: by type first, by text only for ambiguous types, by exit code and log for dead workers.

What each means is kept in `failure_texts.txt`, with where it was seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tuning.loops.failures import fatal_line, one_line, status_of_error, status_of_exit, traceback_tail
from tuning.run.process import outcome_of_death
from tuning.trial import Status

TEXTS = Path(__file__).with_name("failure_texts.txt")
FIELDS = {"source", "verdict", "raised", "exit", "why", "reason"}


@dataclass(frozen=True)
class Failure:
    """An entry of the corpus."""

    source: str
    verdict: Status
    raised: str
    exit: str
    reasons: tuple[str, ...]
    text: str


class XlaRuntimeError(RuntimeError):
    """What JAX's runtime raises, by name."""


def read_failures() -> list[Failure]:
    blocks = re.split(r"\n\s*\n", TEXTS.read_text(encoding="utf-8"))
    return [read_failure(block.splitlines()) for block in blocks if not block.startswith("#")]


def read_failure(lines: list[str]) -> Failure:
    fields = [line.split(": ", 1) for line in lines if not line.startswith("|")]
    assert {name for name, _ in fields} <= FIELDS, fields
    told = dict(fields)
    return Failure(
        source=told.get("source", ""),
        verdict=Status(told["verdict"]),
        raised=told.get("raised", ""),
        exit=told.get("exit", ""),
        reasons=tuple(value for name, value in fields if name == "reason"),
        text="\n".join(line[2:] for line in lines if line.startswith("|")),
    )


def make_error(kind: str, text: str) -> BaseException:
    if kind == "OSError":
        code, message = re.fullmatch(r"\[Errno (\d+)\] (.*)", text).groups()
        return OSError(int(code), message)
    if hasattr(tf.errors, kind):
        return getattr(tf.errors, kind)(None, None, text)
    return {"MemoryError": MemoryError, "RuntimeError": RuntimeError, "ValueError": ValueError}.get(
        kind, XlaRuntimeError
    )(text)


def judge(failure: Failure) -> tuple[Status, str]:
    if failure.raised:
        return status_of_error(make_error(failure.raised, failure.text))
    code, *circumstances = failure.exit.split()
    killer, limited = "killer" in circumstances, "limited" in circumstances
    outcome = outcome_of_death("t", int(code), failure.text, killer_was_at_work=killer, limited=limited)
    return outcome.status, outcome.reason


FAILURES = read_failures()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda f: f"{f.source} {f.raised or f.exit}")
def test_every_failure_that_was_seen_is_judged_rightly(failure: Failure) -> None:
    status, reason = judge(failure)
    assert status is failure.verdict
    assert "\n" not in reason
    for words in failure.reasons:
        assert words in reason


def test_the_corpus_holds_many_failures_of_every_verdict_with_their_sources() -> None:
    verdicts = [failure.verdict for failure in FAILURES]
    assert len(FAILURES) >= 40
    assert set(verdicts) == {Status.OUT_OF_MEMORY, Status.FAILED, Status.LOST}
    assert min(verdicts.count(Status.OUT_OF_MEMORY), verdicts.count(Status.FAILED)) >= 20
    for failure in FAILURES:
        assert re.search(r"#\d+$|^(measured|made): |\.(cc|h|md)\b", failure.source), failure
        assert bool(failure.raised) != bool(failure.exit), failure


def test_memory_that_numpy_lacks_is_recognised_by_the_type_that_it_raises() -> None:
    error = np._core._exceptions._ArrayMemoryError((10**12,), np.dtype("float32"))
    assert status_of_error(error)[0] is Status.OUT_OF_MEMORY


def test_reason_is_one_bounded_line() -> None:
    status, reason = status_of_error(ValueError("first\n\n   second " + "x" * 1000))
    assert status is Status.FAILED
    assert reason.startswith("ValueError: first second xxx")
    assert len(reason) == 400
    assert one_line(KeyError()) == "KeyError"


def test_the_reason_leaves_out_where_a_pipeline_ran() -> None:
    node = "__wrapped__IteratorGetNext_output_types_2_device_/job:localhost/replica:0/task:0/device:CPU:0"
    told = f"{{{{function_node {node}}}}} assertion failed: [x]\n\t [[{{{{node assert}}}}]] [Op:IteratorGetNext] name: "
    assert one_line(tf.errors.InvalidArgumentError(None, None, told)) == "InvalidArgumentError: assertion failed: [x]"
    assert one_line(ValueError("[[{{node assert}}]]")) == "ValueError: [[{{node assert}}]]"


def test_the_reason_names_a_cuda_error_that_comes_late_in_a_long_text() -> None:
    error = tf.errors.InternalError(None, None, "x" * 1000 + " CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure")
    status, reason = status_of_error(error)
    assert status is Status.FAILED
    assert reason.startswith("CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure: InternalError: xxx")
    assert len(reason) == 400


@pytest.mark.parametrize(("exit_code", "limited"), [(-9, False), (-11, True), (-6, True)])
def test_death_of_a_lack_of_memory_is_told_by_signal_or_limit(exit_code: int, limited: bool) -> None:
    assert status_of_exit(exit_code, "", limited=limited)[0] is Status.OUT_OF_MEMORY


def test_a_device_that_died_is_no_lack_of_memory_under_a_limit_either() -> None:
    log = "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered"
    assert status_of_exit(-6, log, limited=True) == (Status.FAILED, f"The worker died of SIGABRT after {log}.")


@pytest.mark.parametrize(("exit_code", "words"), [(-15, "SIGTERM"), (1, "exit code 1"), (None, "exit code None")])
def test_any_other_death_is_a_failure(exit_code: int | None, words: str) -> None:
    status, reason = status_of_exit(exit_code, "Traceback: a typo")
    assert status is Status.FAILED
    assert words in reason


def test_a_device_that_is_not_there_is_no_cause_of_a_death() -> None:
    log = "failed call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected"
    assert status_of_exit(-11, log) == (Status.FAILED, "The worker died of SIGSEGV.")


@pytest.mark.parametrize(
    "line",
    [
        "2019-02-21 16:43:26.984939: F tensorflow/core/gpu_event_mgr.cc:274] Unexpected Event status: 1",
        "F0000 00:00:1795676571.405310   27011 env.cc:84] Check failed: ret == 0 (11 vs. 0)",
        "F tensorflow/core/gpu_event_mgr.cc:274] Unexpected Event status: 1",
    ],
)
def test_the_line_that_tells_of_an_abort_is_found_between_progress_and_stack(line: str) -> None:
    before = "0.9928" if line[0] != "F" else "F score: 0.5]\n"
    assert fatal_line(f"{before}{line}\n*** Check failure stack trace: ***\n    @ 0x7fec") == " ".join(line.split())


def test_the_line_that_tells_of_an_abort_is_bounded_or_nothing() -> None:
    assert len(fatal_line("F core.cc:1] " + "x" * 1000)) == 400
    assert fatal_line("F score: 0.5") == ""


def test_traceback_tail_ends_with_the_error_and_keeps_its_cause() -> None:
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        tail = traceback_tail(error)
    assert tail.endswith("ValueError: outer")
    assert "KeyError: 'inner'" in tail
