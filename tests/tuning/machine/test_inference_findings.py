"""Which batch sizes of inference are measured, and which is the one to serve with."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from fakes import ScriptedExecutor

from tuning.machine.inference import (
    InferenceFindings,
    InferencePoint,
    most_seconds,
    parse_latency,
    probe_inference,
    reason_to_end,
)
from tuning.messages import Event, Inference, InferenceRequest
from tuning.trial import Status, TrialOutcome

MANY = 10**9


def inference(size: int, p95: float | None, *, p50: float | None = None, rate: float | None = None) -> Inference:
    """A size whose calls take as long as told; its throughput is `rate`, or that of calls of the median."""
    median = (p95 or 0.0) if p50 is None else p50
    seconds = 100 * (size / rate if rate is not None else median)
    return Inference(f"inference-{size}", size, 100, seconds, median, p95, 2**20)


def measured(size: int, p95: float | None, **more: float) -> InferencePoint:
    return InferencePoint(size, inference(size, p95, **more))


def failed(size: int, status: Status = Status.FAILED) -> InferencePoint:
    return InferencePoint(size, reason="no kernel", status=status)


def latencies(*p95: float) -> list[InferencePoint]:
    return [measured(2**power, value) for power, value in enumerate(p95)]


def rates(*per_second: float) -> list[InferencePoint]:
    return [measured(2**power, 1e-6, rate=value) for power, value in enumerate(per_second)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("0.5s", 0.5), ("20", 0.02), (" 1.5 MS ", 0.0015), ("800us", 0.0008), (".5s", 0.5), ("10s", 10.0)],
)
def test_latencies_are_read_with_their_units(text: str, seconds: float) -> None:
    assert parse_latency(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "fast", "-1ms", "0", "0ms", "10.1s", "20 m", "1e3", "5min", "nan", "20ms20"])
def test_what_is_no_latency_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=rf"--latency must be a time above 0 .* got '{text}'\. Write the number"):
        parse_latency(text)


def test_the_first_size_is_always_measured() -> None:
    assert reason_to_end([], 1, None) == ""


def test_sizes_end_where_the_next_would_exceed_the_data() -> None:
    points = latencies(1e-3, 1e-3, 1e-3)  # up to 4
    assert reason_to_end(points, 7, 1.0) == "data"
    assert reason_to_end(points, 8, 1.0) == ""


def test_sizes_end_after_two_in_a_row_over_the_bound() -> None:
    assert reason_to_end(latencies(0.01, 0.03), MANY, 0.02) == ""
    assert reason_to_end(latencies(0.03, 0.01, 0.03), MANY, 0.02) == ""
    assert reason_to_end(latencies(0.03, 0.02), MANY, 0.02) == ""  # at the bound is within
    assert reason_to_end(latencies(0.01, 0.03, 0.03), MANY, 0.02) == "latency"
    assert reason_to_end([measured(1, 0.03), failed(2), measured(4, 0.03)], MANY, 0.02) == ""


def test_half_of_the_calls_over_the_bound_are_enough_where_no_p95_is_known() -> None:
    over = [measured(size, None, p50=0.03, rate=1.0) for size in (1, 2)]
    assert reason_to_end(over, MANY, 0.02) == "latency"
    assert reason_to_end(over, MANY, 0.04) == ""
    assert InferenceFindings(tuple(over), MANY, 0.04).best is None  # nor is it known to be within


def test_without_a_bound_sizes_end_when_three_have_brought_less_than_two_percent() -> None:
    assert reason_to_end(rates(100, 101, 101, 101), MANY, None) == "throughput"
    assert reason_to_end(rates(100, 101, 101), MANY, None) == ""
    assert reason_to_end(rates(100, 101, 101, 102), MANY, None) == ""
    assert reason_to_end(rates(100, 103, 101, 101), MANY, None) == ""
    assert reason_to_end(rates(100, 103, 101, 101, 101), MANY, None) == "throughput"
    assert reason_to_end(rates(100, 90, 80, 70), MANY, 1.0) == ""  # with a bound, speed ends nothing


def test_out_of_memory_ends_it_and_a_failure_only_after_something_was_measured() -> None:
    assert reason_to_end([measured(1, 0.01), failed(2, Status.OUT_OF_MEMORY)], MANY, None) == "memory"
    assert reason_to_end([failed(1, Status.OUT_OF_MEMORY)], MANY, None) == "memory"
    assert reason_to_end([failed(1), failed(2)], MANY, None) == ""
    assert reason_to_end([failed(1), measured(2, 0.01), failed(4)], MANY, None) == "failure"


def test_sizes_end_where_one_call_would_last_as_long_as_all_calls_of_a_size_may() -> None:
    assert reason_to_end(latencies(2.5), MANY, None) == ""
    assert reason_to_end(latencies(2.6), MANY, None) == "time"
    assert reason_to_end(latencies(2.6), MANY, 3.0) == ""  # twenty calls of 3 s are affordable


@pytest.mark.parametrize(("bound", "seconds"), [(None, 5.0), (0.02, 5.0), (0.25, 5.0), (1.0, 20.0)])
def test_a_size_is_timed_long_enough_for_twenty_calls_within_the_bound(bound: float | None, seconds: float) -> None:
    assert most_seconds(bound) == seconds


@pytest.mark.parametrize("seed", range(30))
def test_the_best_size_is_what_brute_force_finds_in_a_sawtooth(seed: int) -> None:
    source = random.Random(seed)
    values = [source.uniform(0.001, 0.04) for _ in range(10)]
    speeds = [source.uniform(10.0, 1000.0) for _ in range(10)]
    points = tuple(measured(2**i, values[i], rate=speeds[i]) for i in range(10))
    best = InferenceFindings(points, MANY, 0.02).best
    allowed = [2**i for i in range(10) if values[i] <= 0.02]
    assert (None if best is None else best.batch_size) == (max(allowed) if allowed else None)
    fastest = InferenceFindings(points, MANY).best
    assert fastest is not None
    assert fastest.batch_size == 2 ** speeds.index(max(speeds))


def test_the_fastest_is_sought_within_the_bound_and_of_equals_the_smallest() -> None:
    points = (measured(1, 0.01, rate=50.0), measured(2, 0.01, rate=50.0), measured(4, 0.03, rate=90.0))
    fastest = InferenceFindings(points, MANY, 0.02).fastest
    assert fastest is not None
    assert fastest.batch_size == 1


def test_a_latency_at_the_bound_is_within() -> None:
    best = InferenceFindings((measured(1, 0.01), measured(2, 0.02), measured(4, 0.03)), MANY, 0.02).best
    assert best is not None
    assert best.batch_size == 2


def worker(seconds: Callable[[int], float]) -> Callable[[InferenceRequest], Event]:
    return lambda request: inference(request.batch_size, seconds(request.batch_size))


def sizes_asked(executor: ScriptedExecutor) -> list[int]:
    return [request.batch_size for request in executor.probed if isinstance(request, InferenceRequest)]


def test_sizes_are_doubled_until_the_latency_has_exceeded_the_bound_twice() -> None:
    executor, told = ScriptedExecutor(probes=worker(lambda size: 1e-3 * size)), list[str]()
    found = probe_inference(executor, n_examples=MANY, bound_s=0.02, tell=told.append)
    assert sizes_asked(executor) == [1, 2, 4, 8, 16, 32, 64]
    assert found.ended_by == "latency"
    assert found.best is not None
    assert found.best.batch_size == 16
    assert told[-1] == "inference at batch size 64"


def test_without_a_bound_they_are_doubled_until_it_does_not_pay() -> None:
    executor = ScriptedExecutor(probes=worker(lambda size: 1e-3 * max(size, 8)))  # 1000 per second from 8 on
    found = probe_inference(executor, n_examples=MANY)
    assert sizes_asked(executor) == [1, 2, 4, 8, 16, 32, 64]
    assert found.ended_by == "throughput"
    assert found.best is not None
    assert found.best.batch_size == 8


def test_out_of_memory_is_a_point_with_its_reason() -> None:
    answer = worker(lambda size: 1e-3)

    def limited(request: InferenceRequest) -> Event:
        if request.batch_size > 4:
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="too large", exit_code=86)
        return answer(request)

    found = probe_inference(ScriptedExecutor(probes=limited), n_examples=MANY, bound_s=0.02)
    assert [point.batch_size for point in found.points] == [1, 2, 4, 8]
    assert (found.points[-1].reason, found.points[-1].status) == ("too large", Status.OUT_OF_MEMORY)
    assert found.ended_by == "memory"
    assert found.best is not None
    assert found.best.batch_size == 4
    told = found.to_json()["points"][-1]
    assert told == {
        "batch_size": 8,
        "calls": 0,
        "examples_per_second": None,
        "latency_p50_s": None,
        "latency_p95_s": None,
        "peak_memory_bytes": None,
        "reason": "too large",
    }


def test_a_killed_worker_is_asked_again() -> None:
    answer, killed = worker(lambda size: 1e-3 * size), list[int]()

    def once(request: InferenceRequest) -> Event:
        if request.batch_size == 4 and not killed:
            killed.append(4)
            return TrialOutcome(request.trial_id, Status.LOST, reason="SIGKILL", exit_code=-9)
        return answer(request)

    found = probe_inference(ScriptedExecutor(probes=once), n_examples=MANY, bound_s=0.02)
    assert found == probe_inference(ScriptedExecutor(probes=answer), n_examples=MANY, bound_s=0.02)


def test_a_long_bound_has_its_sizes_timed_for_longer() -> None:
    executor = ScriptedExecutor(probes=worker(lambda size: 1.0))
    probe_inference(executor, n_examples=1, bound_s=2.0)
    (request,) = executor.probed
    assert isinstance(request, InferenceRequest)
    assert request.most_seconds == 40.0


def test_the_record_has_every_size_at_its_own_step() -> None:
    points = (measured(1, 0.01, rate=50.0), measured(2, None, p50=0.02, rate=60.0), failed(4))
    told = InferenceFindings(points, MANY, 0.02).measurement
    assert (told.name, told.reason) == ("inference", "")
    assert told.values == {"inference_batch_size": 1.0, "latency_bound_seconds": 0.02}
    assert ("latency_p95_seconds", 0.01, 1) in told.series
    assert [step for name, _, step in told.series if name == "latency_p95_seconds"] == [1]
    assert [value for name, value, _ in told.series if name == "inference_examples_per_second"] == [50.0, 60.0]
    assert ("inference_peak_memory_bytes", 2.0**20, 2) in told.series
    assert ("inference_calls", 100.0, 1) in told.series


def test_a_record_of_nothing_says_why() -> None:
    told = InferenceFindings((failed(1), failed(2)), 2).measurement
    assert (told.reason, told.values, told.series) == ("no kernel", {}, ())
