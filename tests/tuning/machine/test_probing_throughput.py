"""Throughput by batch size and loop, on scripted workers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes import ScriptedExecutor

from tuning.machine.throughput import CHOSEN, KERAS, ThroughputFindings, probe_throughput, sizes_to_time
from tuning.messages import Throughput, ThroughputRequest
from tuning.trial import Status, TrialOutcome


def worker(
    seconds: Callable[[str, int], float], input_seconds: float = 1e-9
) -> Callable[[ThroughputRequest], Throughput]:
    def answer(request: ThroughputRequest) -> Throughput:
        loop = "xla" if request.loop == "auto" else request.loop
        alone = input_seconds * request.batch_size if loop == "keras" else None
        return Throughput(request.trial_id, request.batch_size, loop, seconds(loop, request.batch_size), alone)

    return answer


def measure(
    answer: Callable[[ThroughputRequest], object], sizes: tuple[int, ...] = (8, 32, 128, 512), loop: str = "auto"
) -> tuple[ThroughputFindings, ScriptedExecutor]:
    executor = ScriptedExecutor(probes=answer)
    return probe_throughput(executor, sizes, loop=loop), executor


def test_both_series_are_fitted_and_have_a_knee() -> None:
    found, _ = measure(worker(lambda loop, size: (2e-3 if loop == "keras" else 1e-4) + 1e-5 * size))
    keras, chosen = found.line(KERAS), found.line(CHOSEN)
    assert keras is not None
    assert chosen is not None
    assert keras.seconds_per_update == pytest.approx(2e-3)
    assert chosen.seconds_per_update == pytest.approx(1e-4)
    assert (found.knee(KERAS), found.knee(CHOSEN)) == (512, 128)
    told = found.to_json()
    assert told["knee"] == {"keras": 512, "chosen": 128}
    assert [row["loop"] for row in told["throughput"]] == ["keras"] * 4 + ["xla"] * 4
    assert told["throughput"][0]["examples_per_second"] == pytest.approx(8 / (2e-3 + 8e-5))
    assert told["throughput_fit"]["keras"]["accepted"] is True


def test_the_keras_loop_alone_is_measured_once() -> None:
    found, executor = measure(worker(lambda _, size: 1e-5 * size), loop="keras")
    assert len(executor.probed) == 4
    assert found.seconds(KERAS) == found.seconds(CHOSEN)


def test_a_pipeline_that_takes_as_long_as_the_update_is_told() -> None:
    found, _ = measure(worker(lambda _, size: 1e-3 + 1e-5 * size, input_seconds=1e-5))
    assert found.input_limits == {512: pytest.approx(1e5)}


def test_sizes_that_would_take_too_long_are_left_out() -> None:
    found, executor = measure(worker(lambda _, size: 0.05 * size))
    assert sorted(found.seconds(KERAS)) == [8, 32]  # 128 would take 8 updates of 6.4 s
    assert len(executor.probed) == 4


def test_a_series_ends_where_the_curve_is_flat() -> None:
    sizes = (8, 32, 128, 512, 2048)
    flat, _ = measure(worker(lambda _, size: 1e-5 * max(size, 20)), sizes=sizes)
    assert sorted(flat.seconds(KERAS)) == sorted(flat.seconds(CHOSEN)) == [8, 32, 128, 512]
    rising, _ = measure(worker(lambda _, size: 1e-3 + 1e-5 * size), sizes=sizes)
    assert sorted(rising.seconds(KERAS)) == list(sizes)
    at_last, _ = measure(worker(lambda _, size: 1e-5 * max(size, 200)), sizes=sizes)
    assert sorted(at_last.seconds(KERAS)) == list(sizes)


def test_a_failure_is_a_missing_row_with_its_reason() -> None:
    answer = worker(lambda _, size: 1e-5 * size)

    def failing(request: ThroughputRequest) -> Throughput | TrialOutcome:
        if request.batch_size == 128 and request.loop == "keras":
            return TrialOutcome(request.trial_id, Status.FAILED, reason="no kernel")
        return answer(request)

    found, _ = measure(failing)
    assert sorted(found.seconds(KERAS)) == [8, 32, 512]
    assert found.failures == {"keras 128": "no kernel"}


def test_a_killed_worker_is_asked_again() -> None:
    answer, killed = worker(lambda _, size: 1e-5 * size), []

    def once(request: ThroughputRequest) -> Throughput | TrialOutcome:
        if request.batch_size == 32 and not killed:
            killed.append(request)
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="SIGKILL", exit_code=-9)
        return answer(request)

    assert measure(once)[0] == measure(answer)[0]


@pytest.mark.parametrize("largest", [1, 2, 7, 8, 100, 1437, 10**6])
def test_sizes_are_at_most_six_powers_of_two_that_fit(largest: int) -> None:
    sizes = sizes_to_time(largest)
    assert 1 <= len(sizes) <= 6
    assert list(sizes) == sorted(set(sizes))
    assert all(size & (size - 1) == 0 and size <= largest for size in sizes)
    assert sizes[-1] * 2 > min(largest, 4096)
