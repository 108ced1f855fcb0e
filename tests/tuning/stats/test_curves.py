"""The measures of a course: exact where a formula gives the value, absent where a training is too short."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from made_curves import falling, made, rising, with_jumps

from tuning.objective import Objective
from tuning.stats.curves import (
    Course,
    course_of,
    curve_facts,
    end_trend,
    generalisation_gap,
    local_noise,
    spikes,
    update_noise,
    val_loss_at,
    window,
)
from tuning.trial import finished_trial


@pytest.mark.parametrize("slope", [0.0, -0.5])
def test_local_noise_is_the_standard_deviation_around_any_line(slope: float) -> None:
    drawn = random.Random(0)
    values = [slope * i + drawn.gauss(0, 0.3) for i in range(4000)]
    assert local_noise(values) == pytest.approx(0.3, rel=0.05)


def test_local_noise_forgives_a_jump_and_needs_three_values() -> None:
    assert local_noise([1.0, 1.0, 1.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0]) == 0.0
    assert local_noise([1.0, 2.0]) is None


def test_update_noise_is_a_share_of_the_loss() -> None:
    noises = [update_noise(falling(200, floor=level, rate=1, noise=0.05, seed=1)) for level in (0.2, 20.0)]
    assert noises == pytest.approx([0.05, 0.05], rel=0.25)


def test_update_noise_leaves_out_the_warm_up_and_a_steep_smooth_fall() -> None:
    wild = [3.0, 0.5, 4.0, 0.4, *falling(8, start=0.4)]
    assert update_noise(wild) == pytest.approx(0.0, abs=1e-12)
    assert update_noise(falling(30, rate=0.1)) == pytest.approx(0.0, abs=1e-12)


def test_a_jump_is_no_update_noise() -> None:
    steady = falling(12, rate=0.2)
    assert update_noise(with_jumps(steady, {8}, by=3)) == pytest.approx(0.0, abs=1e-12)


def test_update_noise_needs_eight_epochs_and_a_positive_loss() -> None:
    assert update_noise(falling(8, noise=0.1)) is not None
    assert update_noise(falling(7, noise=0.1)) is None
    assert update_noise([-value for value in falling(20)]) is None
    assert update_noise([]) is None


def test_what_a_memorised_set_does_below_a_hundredth_of_the_first_loss_is_no_noise() -> None:
    assert update_noise([2.0] * 4 + [0.001, 0.01] * 5) == 0.0
    assert update_noise([2.0] * 4 + [0.1, 1.0] * 5) == pytest.approx(1.4826 * math.log(10) / math.sqrt(1.5))


def test_spikes_are_counted_where_they_are_also_in_the_last_epoch() -> None:
    steady = falling(16, floor=0.2, rate=1)
    assert spikes(steady) == ()
    assert spikes(with_jumps(steady, {7, 16})) == (7, 16)
    assert spikes(with_jumps([0.2] * 16, {7}, by=1.09)) == ()
    assert spikes(with_jumps([0.2] * 16, {7}, by=1.11)) == (7,)


def test_a_spike_must_exceed_five_times_the_noise() -> None:
    noisy = falling(40, floor=0.5, rate=1, noise=0.08, seed=3)
    assert spikes(noisy) == ()
    assert spikes(with_jumps(noisy, {30}, by=3)) == (30,)
    assert spikes(falling(4)) is None


def test_a_trend_is_the_median_slope_over_the_last_third() -> None:
    found = end_trend([0.0] * 12 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert found is not None
    assert (found.epochs, found.change) == (6, pytest.approx(5.0))
    assert found.rises
    assert not found.falls


def test_one_wild_epoch_turns_no_trend() -> None:
    rise = [0.1 * i for i in range(18)]
    found = end_trend([*rise[:-2], rise[-2] - 0.15, rise[-1]])
    assert found is not None
    assert found.change == pytest.approx(0.5, rel=0.1)


def test_a_trend_needs_five_epochs_and_an_order_that_chance_seldom_gives() -> None:
    assert end_trend([1, 2, 3, 4]) is None
    five = end_trend([0.0, 1, 2, 3, 4])
    assert five is not None
    assert five.rises
    swapped = end_trend([0.0, 1, 3, 2, 4])
    assert swapped is not None
    assert not swapped.is_clear  # 5 of 6 pairs in order: one case in six by chance
    level = end_trend([1.0] * 6)
    assert level is not None
    assert not level.is_clear
    assert level.stays


def test_a_change_below_a_fiftieth_of_the_whole_range_is_none() -> None:
    def crept(by: float) -> bool:
        found = end_trend([0.0, 0.5, *(1 + by * i / 3 for i in range(10))])
        assert found is not None
        return found.rises

    assert not crept(0.015)
    assert crept(0.025)


def test_a_rise_that_chance_may_give_is_no_standstill() -> None:
    unclear = end_trend([0.0, 1.0, 3.0, 2.8, 4.0])
    assert unclear is not None
    assert not unclear.is_clear
    assert not unclear.stays


def test_windows_are_a_third_and_at_least_four() -> None:
    assert [window(epochs) for epochs in (5, 12, 13, 30)] == [4, 4, 5, 10]


def test_the_gap_compares_both_losses_in_the_middle_of_the_epoch() -> None:
    """A loss that falls by 0.2 in every epoch, alike in training and validation, has no gap."""
    moments = [(epoch - 0.5, epoch) for epoch in range(1, 6)]
    same = made([2 - 0.2 * middle for middle, _ in moments], (), [2 - 0.2 * end for _, end in moments])
    assert generalisation_gap(same) == pytest.approx(0.0)
    apart = made(same.loss, (), [value + 0.3 for value in same.val_loss])
    assert generalisation_gap(apart) == pytest.approx(0.3)


def test_the_gap_is_that_of_the_weights_that_were_kept() -> None:
    course = made([1.0, 0.5, 0.2, 0.1], (), [1.0, 0.6, 0.8, 1.0], kept=2)
    assert generalisation_gap(course) == pytest.approx(0.8 - 0.5)
    assert generalisation_gap(made([1.0], (), [1.0])) is None
    assert generalisation_gap(made([1.0, 0.5])) is None


def test_validation_loss_is_told_when_the_training_loss_was_so() -> None:
    """A loss of exp(-epoch/2) in the middles of epochs, a validation loss twice that at their ends: exact in logs."""
    course = made([math.exp(-(i - 0.5) / 2) for i in range(1, 9)], (), [2 * math.exp(-i / 2) for i in range(1, 9)])
    for level in (0.3, 0.1, 0.05):
        assert val_loss_at(course, level) == pytest.approx(2 * level)
    assert val_loss_at(course, 0.01) is None
    assert val_loss_at(course, math.exp(-1) * 1.01) is None  # before the end of epoch 2
    assert val_loss_at(made([1.0, 3.0, 2.5, 0.5], (), [1.0] * 4), 2.0) is None  # it began below


def test_validation_loss_of_a_loss_below_zero_is_on_straight_lines() -> None:
    course = made([0.0, -1.0, -2.0, -3.0], (), [1.0, 0.0, -1.0, -2.0])
    assert val_loss_at(course, -2.25) == pytest.approx(-0.75)  # at 2.75


def test_a_course_is_read_from_reports_and_needs_every_epoch() -> None:
    losses = {16: {"loss": 0.9, "val_loss": 0.8}, 32: {"loss": 0.5, "val_loss": math.nan}}
    trial = finished_trial(
        8, 0, 0.3, metric="val_mae", curve=[(16, 0.5), (32, 0.3)], losses=losses, epochs=3, weights_epoch=1
    )
    assert course_of(trial, Objective("val_mae", "min")) == Course((0.9, 0.5), (), (-0.5, -0.3), 1, is_whole=False)


def test_facts_name_the_best_epochs_and_short_trainings_have_no_more() -> None:
    found = curve_facts(made([2.0, 1.0, 0.9], [0.5, 0.8, 0.7], [2.0, 1.5, 1.6]))
    assert (found.best_epoch, found.least_val_epoch, found.epochs) == (2, 2, 3)
    assert found.measurements == {
        "update_noise": None,
        "loss_spikes": None,
        "generalisation_gap": pytest.approx(1.55 - 0.9),
        "best_epoch": 2,
    }
    assert (found.gain, found.fall, found.val_loss, found.level_since) == (None,) * 4
    assert found.rise == pytest.approx(0.3)


def test_the_level_is_reached_where_the_end_is_but_for_the_noise() -> None:
    assert curve_facts(made(falling(20), rising(20, until=6))).level_since == 6
    drawn = [curve_facts(made(falling(30), rising(30, rate=1, until=8, noise=0.01, seed=s))) for s in range(20)]
    assert statistics.median(found.level_since or 0 for found in drawn) in (4, 5, 6)
