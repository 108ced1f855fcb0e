"""Where a search should look: the forecast of the best batch size, and the sizes around it."""

from __future__ import annotations

import pytest

from tuning.stats.forecast import ThroughputLine, best_forecast, candidate_sizes, reference_size, sizes_to_search
from tuning.stats.target import Timings

TIMINGS = Timings({size: 1e-3 + 1e-5 * size for size in (1, 4, 16, 64, 256, 1024)})
UNEVEN = Timings({8: 1.0, 32: 1.0, 128: 4.0, 512: 4.0})
POWERS = [2**z for z in range(11)]


def test_the_forecast_is_between_the_noise_scale_and_the_overhead() -> None:
    assert best_forecast(TIMINGS.line, TIMINGS.knee, 400.0) == pytest.approx((400.0 * 100) ** 0.5)
    assert best_forecast(UNEVEN.line, UNEVEN.knee, 32.0) == pytest.approx((32 * 512) ** 0.5)


def test_the_reference_is_no_larger_than_the_knee_and_64() -> None:
    assert reference_size(POWERS, TIMINGS.knee) == 64
    assert reference_size(POWERS, 8) == 8
    assert reference_size([3, 1000], 64) == 1000


@pytest.mark.parametrize(
    ("n_train", "fitting", "largest"),
    [
        (60_000, None, 4096),
        (1437, None, 128),
        (1437, 100, 64),
        (1, None, 1),
        (10**9, None, 4096),
        (8, None, 1),
        (1023, None, 64),
        (1024, None, 128),
    ],
)
def test_candidates_leave_eight_updates_in_an_epoch_and_fit(n_train: int, fitting: int | None, largest: int) -> None:
    found = candidate_sizes(n_train, fitting)
    assert found[0] == 1
    assert found[-1] == largest


def test_where_nothing_fits_there_is_no_candidate() -> None:
    assert candidate_sizes(1437, 0) == ()


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


def test_without_overhead_the_knee_stands_for_it() -> None:
    assert best_forecast(ThroughputLine(0.0, 1e-4, 0.0, 5), 8, 32.0) == 16.0
    assert best_forecast(ThroughputLine(0.01, 0.0, 0.0, 5), 8, 32.0) == 16.0


@pytest.mark.parametrize(
    ("best", "critical", "sizes"),
    [(200.0, 110.0, (16, 32, 64, 128, 256, 1024)), (110.0, 200.0, (16, 32, 64, 128, 256, 1024))],
)
def test_sizes_go_from_an_eighth_of_the_smaller_forecast_to_four_times_the_larger(
    best: float, critical: float, sizes: tuple[int, ...]
) -> None:
    assert sizes_to_search([2**z for z in range(13)], best, critical) == sizes


def test_a_candidate_is_searched_once_however_unevenly_they_lie() -> None:
    assert sizes_to_search([1, 2, 900, 901, 902, 903, 904], 60.0, 60.0) == (1, 2, 900, 901, 902, 903)
