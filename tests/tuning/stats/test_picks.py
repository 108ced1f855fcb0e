"""The picks by tolerance are those of `recommend`, on both sides of every place where one may change."""

from __future__ import annotations

import random

import pytest

from tuning.objective import Objective
from tuning.stats.picks import Pick, picks_by_tolerance
from tuning.stats.recommendation import recommend
from tuning.trial import Trial, finished_trial

LOSS = Objective("val_loss", "min")


def trials(seed: int) -> list[Trial]:
    """Losses with gaps of about their noise, and costs that fall with the batch size."""
    noise = random.Random(seed)
    return [
        finished_trial(size, seed, 1 + 0.02 * place + noise.gauss(0, 0.02), seconds=100 / size, metric="val_loss")
        for place, size in enumerate((8, 16, 32, 64, 128))
        for seed in range(3)
    ]


def in_force(picks: tuple[Pick, ...], tolerance: float | None) -> Pick:
    """As the report's page finds it."""
    if tolerance is None:
        return picks[0]
    return [pick for pick in picks[1:] if pick.tolerance is not None and pick.tolerance <= tolerance][-1]


@pytest.mark.parametrize("seed", range(4))
def test_picks_are_those_of_recommend(seed: int) -> None:
    ended = trials(seed)
    found = picks_by_tolerance(ended, objective=LOSS)
    changes = [pick.tolerance for picks in found.values() for pick in picks if pick.tolerance is not None]
    near = [tolerance * factor for tolerance in changes for factor in (1 - 1e-12, 1, 1 + 1e-12)]
    for rule, picks in found.items():
        for tolerance in (None, 0.0, 0.01, 0.05, 1.0, *near):
            truth = recommend(ended, objective=LOSS, rule=rule, tolerance=tolerance)
            pick = in_force(picks, tolerance)
            assert (pick.batch_size, pick.eligible) == (truth.batch_size, truth.eligible)


def test_the_first_pick_is_without_a_tolerance_and_the_last_tolerates_every_gap() -> None:
    for picks in picks_by_tolerance(trials(0), objective=LOSS).values():
        assert [picks[0].tolerance, picks[1].tolerance] == [None, 0.0]
        assert picks[-1].eligible == (8, 16, 32, 64, 128)
