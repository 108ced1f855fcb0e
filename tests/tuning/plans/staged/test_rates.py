"""Learning rates around a centre, following the batch size, and outward."""

from __future__ import annotations

import pytest

from tuning.plans.staged.state import LADDER, MOST_EXTENSIONS, WINDOW, around, followed, missing, outward


def follow(batch_size: int, *, rule: str = "auto", optimizer: str = "Adam") -> float:
    return followed(0.1, batch_size, known_at=64, rule=rule, optimizer=optimizer, noise_scale=256.0)


def test_the_centre_follows_the_square_root_for_adam_and_saturates_for_sgd() -> None:
    assert follow(256) == pytest.approx(0.2)
    assert follow(256, optimizer="SGD") == pytest.approx(0.1 * (1 + 256 / 64) / (1 + 256 / 256))
    assert follow(10**9, optimizer="SGD") == pytest.approx(0.5)
    assert follow(1, optimizer="SGD") == pytest.approx(0.1 * 5 / 257)


def test_a_rule_that_was_asked_for_is_kept() -> None:
    assert follow(256, rule="linear") == pytest.approx(0.4)
    assert follow(256, rule="constant") == pytest.approx(0.1)
    assert follow(256, rule="sqrt", optimizer="SGD") == pytest.approx(0.2)


def test_rates_within_a_tenth_count_as_tried() -> None:
    assert missing(around(0.001, WINDOW), [0.00105, 0.0029]) == [0.000333]
    assert missing([None], [None]) == []


def test_an_interior_best_ends_the_search_for_rates() -> None:
    ladder = around(0.001, LADDER)
    assert outward(ladder, ladder, 0.001) is None
    assert outward(ladder, ladder, 0.009) == pytest.approx(0.027)
    assert outward(ladder, ladder, 0.000111) == pytest.approx(0.000037)


def test_where_everything_diverged_lower_rates_are_tried() -> None:
    ladder = around(0.001, LADDER)
    assert outward(ladder, ladder, None) == pytest.approx(0.000037)


def test_moving_outward_ends() -> None:
    ladder = around(0.001, LADDER)
    tried = list(ladder)
    while (rate := outward(ladder, tried, max(tried))) is not None:
        tried.append(rate)
    assert len(tried) == len(ladder) + MOST_EXTENSIONS


def test_a_schedule_has_no_edge() -> None:
    assert outward([None], [None], None) is None
