"""Seconds of the user's loop at the sizes that were tried, on scripted workers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from fakes import ScriptedExecutor

from tuning.machine.machine import Machine
from tuning.machine.throughput import CHOSEN, KERAS, Measured, ThroughputFindings
from tuning.machine.user_seconds import (
    Tried,
    errors_of_user,
    input_of_user,
    note_on_disturbance,
    rates_of_user,
    with_user_seconds,
)
from tuning.messages import Throughput
from tuning.trial import Status, TrialOutcome

SIZES = (8, 32, 128)


def executor(seconds: float = 1e-4, shares: Mapping[int, float] | None = None) -> ScriptedExecutor:
    """Takes so many seconds an example; others take such shares of the machine meanwhile, by batch size."""

    def answer(request: Any) -> Throughput:
        share = None if shares is None else shares.get(request.batch_size, 0.0)
        loop = "device" if request.loop == "auto" else request.loop
        found = seconds * request.batch_size
        return Throughput(request.trial_id, request.batch_size, loop, found, others_share=share)

    return ScriptedExecutor(probes=answer)


def timed(
    measuring: ScriptedExecutor,
    machine: Machine | None = None,
    loop: str = "auto",
    sizes: tuple[int, ...] = SIZES,
    **rest: Any,
) -> Machine:
    tried = [Tried(size, {"units": size}, threads=1 if size < 32 else None) for size in sizes]
    return with_user_seconds(machine or Machine(), measuring, tried, loop=loop, epochs=2, **rest)


def test_each_size_is_timed_by_plain_fit_with_its_hyperparameters_and_threads() -> None:
    measuring = executor()
    machine = timed(measuring)
    assert [(r.batch_size, r.loop, r.threads, dict(r.hyperparameters)) for r in measuring.probed] == [
        (8, "keras", 1, {"units": 8}),
        (32, "keras", None, {"units": 32}),
        (128, "keras", None, {"units": 128}),
    ]
    assert machine.user_series == KERAS
    assert rates_of_user(machine, SIZES) == pytest.approx(dict.fromkeys(SIZES, 1e4))


def test_a_size_that_is_compared_with_none_is_timed_for_half_as_long() -> None:
    alone, among = executor(), executor()
    timed(alone, sizes=(8,))
    timed(among)
    assert 2 * alone.probed[0].chunk_seconds == among.probed[0].chunk_seconds


def test_the_input_is_timed_apart_where_that_is_asked_for() -> None:
    measuring = executor()
    assert input_of_user(timed(measuring, times_input=True)) == {}
    assert all(request.times_input for request in measuring.probed)
    rows = tuple(Measured(KERAS, Throughput("t", size, KERAS, 1.0, alone)) for size, alone in ((8, 0.9), (32, None)))
    assert input_of_user(Machine(throughput=ThroughputFindings(rows, {}), user_series=KERAS)) == {8: (0.9, 1.0)}


@pytest.mark.parametrize(("loop", "series"), [("keras", KERAS), ("device", CHOSEN), ("xla", CHOSEN)])
def test_a_loop_that_is_asked_for_by_name_is_the_user_s(loop: str, series: str) -> None:
    measuring = executor()
    assert timed(measuring, loop=loop).user_series == series
    assert {request.loop for request in measuring.probed} == {loop}


def test_what_was_timed_is_not_timed_again_unless_it_was_disturbed_or_the_model_varies() -> None:
    first = timed(executor(shares={8: 0.5, 32: 0.04}))
    second = executor(seconds=2e-4, shares={})
    machine = timed(second, first, sizes=(*SIZES, 512))
    assert [request.batch_size for request in second.probed] == [8, 512]
    assert rates_of_user(machine, (8, 32)) == pytest.approx({8: 5e3, 32: 1e4})
    third = executor(shares={})
    timed(third, machine, anew=True)
    assert [request.batch_size for request in third.probed] == [8, 32, 128]


def test_of_two_disturbed_timings_the_less_disturbed_counts() -> None:
    first = timed(executor(shares={8: 0.2}), sizes=(8,))
    assert rates_of_user(timed(executor(2e-4, {8: 0.3}), first, sizes=(8,)), (8,)) == pytest.approx({8: 1e4})
    assert rates_of_user(timed(executor(2e-4, {8: 0.1}), first, sizes=(8,)), (8,)) == pytest.approx({8: 5e3})


def test_a_size_that_cannot_be_timed_is_told_from_those_beside_it() -> None:
    def answer(request: Any) -> Any:
        if request.batch_size == 32:
            return TrialOutcome(request.trial_id, Status.FAILED, reason="no")
        return Throughput(request.trial_id, request.batch_size, "keras", 1e-4 * request.batch_size)

    machine = timed(ScriptedExecutor(probes=answer))
    assert machine.throughput is not None
    assert machine.throughput.failures == {"keras 32": "no"}
    assert rates_of_user(machine, SIZES) == pytest.approx(dict.fromkeys(SIZES, 1e4))


def test_without_any_timing_nothing_is_known() -> None:
    machine = timed(ScriptedExecutor())
    assert machine == Machine()
    assert rates_of_user(machine, SIZES) is None
    assert note_on_disturbance(machine, SIZES) == ""


def test_sizes_that_do_not_fit_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "largest_batch_size", 32)
    measuring = executor()
    timed(measuring)
    assert [request.batch_size for request in measuring.probed] == [8, 32]


def test_every_size_that_others_disturbed_is_named_and_no_other() -> None:
    machine = timed(executor(shares={8: 0.3, 32: 0.05, 128: 0.4}))
    assert note_on_disturbance(machine, SIZES) == (
        "Other work took up to 40% of the processors while batch sizes 8, 128 were timed, "
        "so that seconds may be too long."
    )
    assert "batch size 8 was timed" in note_on_disturbance(machine, (8, 32))
    assert note_on_disturbance(machine, (32,)) == ""
    assert note_on_disturbance(timed(executor(shares={})), SIZES) == ""


def test_a_size_that_was_timed_twice_is_disturbed_where_both_timings_were() -> None:
    def findings(*shares: float) -> ThroughputFindings:
        rows = zip((8, 32), shares, strict=True)
        return ThroughputFindings(
            tuple(Measured(KERAS, Throughput("t", size, "keras", 0.1, others_share=share)) for size, share in rows), {}
        )

    machine = Machine(throughput=findings(0.5, 0.5), throughput_again=findings(0.5, 0.0), user_series=KERAS)
    assert "batch size 8 was timed" in note_on_disturbance(machine, (8, 32))


def test_what_was_timed_is_read_from_the_record_as_it_was() -> None:
    machine = timed(executor(shares={8: 0.5}))
    assert Machine.from_json(machine.to_json()) == machine


def with_slices(slices: Mapping[int, tuple[float, ...]], shares: Mapping[int, float] | None = None) -> Machine:
    """A machine that was timed in such slices."""
    rows = (
        Measured(KERAS, Throughput("t", size, "keras", 0.1, repeats=each, others_share=(shares or {}).get(size)))
        for size, each in slices.items()
    )
    return Machine(throughput=ThroughputFindings(tuple(rows), {}), user_series=KERAS)


def test_the_error_of_a_clock_grows_with_the_spread_of_its_slices_and_falls_with_their_number() -> None:
    machine = with_slices({8: (1.0, math.e**0.2), 32: (1.0, math.e**0.2), 128: (1.0, 1.0, 1.0, 1.0)})
    pooled = math.sqrt((0.02 + 0.02) / 5)  # variances of 2 and 2 slices .2 apart in ln, 1 + 1 + 3 degrees of freedom
    found = errors_of_user(machine, (8, 32, 128, 512))
    assert found == pytest.approx(
        {size: math.hypot(0.05, 1.25 * pooled / math.sqrt(count)) for size, count in ((8, 2), (32, 2), (128, 4))}
    )


def test_what_others_may_have_taken_is_an_error_of_the_clock() -> None:
    machine = with_slices(dict.fromkeys(SIZES, (1.0, 1.0)), shares={8: 0.5, 32: 0.04, 128: 1.0})
    found = errors_of_user(machine, SIZES)
    assert found == pytest.approx({8: math.hypot(0.05, math.log(2)), 32: 0.05, 128: math.hypot(0.05, math.log(10))})


def test_a_clock_that_was_read_once_has_the_error_of_any() -> None:
    assert errors_of_user(with_slices({8: (), 32: (1.0,)}), (8, 32)) == {8: 0.05, 32: 0.05}
    assert errors_of_user(Machine(), SIZES) == {}
