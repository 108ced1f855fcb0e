"""Timings between what was timed, and what stands for an unknown noise scale; which sizes they lead to."""

from __future__ import annotations

import json

import pytest
from simulation import TIMINGS

from tuning.machine.facts import GUESSED_NOISE_SCALE, MachineFacts, NoiseFacts, Timings
from tuning.study.staged.sizes import best_forecast, reference_size, sizes_to_search

UNEVEN = Timings({8: 1.0, 32: 1.0, 128: 4.0, 512: 4.0})
POWERS = [2**z for z in range(11)]


def test_timings_on_a_line_are_read_from_it() -> None:
    assert TIMINGS.line is not None
    assert TIMINGS.seconds(100) == pytest.approx(2e-3)
    assert TIMINGS.examples_per_second([100]) == {100: pytest.approx(50_000)}


def test_other_timings_are_read_between_their_neighbours() -> None:
    assert UNEVEN.line is None
    assert UNEVEN.seconds(64) == pytest.approx(2.0)
    assert UNEVEN.seconds(1) == 1.0
    assert UNEVEN.seconds(1024) == pytest.approx(8.0)


def test_a_larger_batch_never_takes_less_time() -> None:
    disturbed = Timings({8: 1.0, 32: 4.0, 128: 1.0, 512: 8.0})
    assert disturbed.seconds(32) == disturbed.seconds(128) == pytest.approx(2.0)
    assert disturbed.seconds(512) == pytest.approx(8.0)


def test_the_lesser_of_two_timings_counts() -> None:
    assert Timings({8: 1.0, 32: 2.0}).least(Timings({8: 3.0, 32: 1.5, 128: 9.0})) == Timings(
        {8: 1.0, 32: 1.5, 128: 9.0}
    )


def test_facts_come_back_from_json() -> None:
    machine = MachineFacts(100, TIMINGS, UNEVEN, 1.5)
    assert MachineFacts.from_json(json.loads(json.dumps(machine.to_json()))) == machine
    noise = NoiseFacts(None, 300.0, "too few examples")
    assert NoiseFacts(**json.loads(json.dumps(noise.to_json()))) == noise


def test_an_unknown_noise_scale_is_guessed_but_not_below_its_bound() -> None:
    assert NoiseFacts(77.0).critical_batch_size == 77.0
    assert NoiseFacts().critical_batch_size == GUESSED_NOISE_SCALE
    assert NoiseFacts(at_least=1000.0).critical_batch_size == 1000.0
    assert NoiseFacts(at_least=3.0).critical_batch_size == GUESSED_NOISE_SCALE


def test_the_forecast_is_between_the_noise_scale_and_the_overhead() -> None:
    machine = MachineFacts(None, TIMINGS, TIMINGS)
    assert best_forecast(machine, NoiseFacts(400.0)) == pytest.approx((400.0 * 100) ** 0.5)
    assert best_forecast(MachineFacts(None, UNEVEN, UNEVEN), NoiseFacts(32.0)) == pytest.approx((32 * 512) ** 0.5)


def test_the_reference_is_no_larger_than_the_knee_and_64() -> None:
    assert reference_size(POWERS, MachineFacts(None, TIMINGS, TIMINGS)) == 64
    early = Timings({8: 1.0, 16: 2.0, 32: 4.0})
    assert reference_size(POWERS, MachineFacts(None, early, early)) == 8
    assert reference_size([3, 1000], MachineFacts(None, TIMINGS, TIMINGS)) == 1000


@pytest.mark.parametrize(("best", "critical"), [(1.0, 1.0), (100.0, 100.0), (1000.0, 5.0), (1e6, 1e6), (0.1, 3.0)])
def test_six_different_sizes_are_searched_wherever_the_forecast_lies(best: float, critical: float) -> None:
    found = sizes_to_search(POWERS, best, critical)
    assert len(set(found)) == 6
    assert list(found) == sorted(found)
    assert set(found) <= set(POWERS)


def test_sizes_lie_on_both_sides_of_both_forecasts() -> None:
    found = sizes_to_search(POWERS, best=200.0, critical=50.0)
    assert found[0] < 25
    assert found[-1] > 400


def test_few_candidates_are_all_searched() -> None:
    assert sizes_to_search([3, 5, 7], 100.0, 100.0) == (3, 5, 7)
