import math

import numpy as np
import pytest

from tuning.stats.arms import SettingScore, smooth


def best_rates(settings):
    smoothed = smooth(settings)
    sizes = sorted({setting.batch_size for setting in settings})
    return {
        size: max(
            (value, setting.learning_rate)
            for value, setting in zip(smoothed, settings, strict=True)
            if setting.batch_size == size
        )[1]
        for size in sizes
    }


def test_weights_are_the_stated_gaussian():
    settings = [SettingScore(16, 0.1, 1.0), SettingScore(16, 0.3, 0.5, trials=3)]
    weight = math.exp(-0.5)  # the rates are one width apart
    assert smooth(settings) == pytest.approx([3 * weight * -0.5 / (1 + 3 * weight), 3 * -0.5 / (3 + weight)])


def test_a_lucky_score_between_bad_ones_loses_to_a_plateau():
    rates = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
    scores = [0.50, 0.91, 0.50, 0.90, 0.90]
    assert best_rates([SettingScore(32, r, s) for r, s in zip(rates, scores, strict=True)])[32] > 1e-3


def test_neighbouring_batch_sizes_decide_at_the_rescaled_rate():
    rates = [1e-3, 2e-3, 4e-3, 8e-3, 16e-3]
    peaks = {16: 2e-3, 64: 4e-3}
    settings = [
        SettingScore(size, rate, -(math.log(rate / peak) ** 2)) for size, peak in peaks.items() for rate in rates
    ]
    flat = [SettingScore(32, rate, 0.0) for rate in rates]
    assert best_rates([*settings, *flat])[32] in (2e-3, 4e-3)


def test_broken_neighbours_count_as_three_times_the_median_and_nothing_more():
    broken = [SettingScore(8, 0.01, 0.8), SettingScore(8, 0.03, 0.9), SettingScore(8, 0.1, -math.inf)]
    as_floor = [SettingScore(8, 0.01, 0.8), SettingScore(8, 0.03, 0.9), SettingScore(8, 0.1, -1000.0)]
    # Of the finite 0.8 and 0.9 the median lies 0.05 below the best; of all three of the second, 0.1.
    weight, weight_2 = math.exp(-0.5), math.exp(-0.5 * (math.log(0.1 / 0.03) / math.log(3)) ** 2)
    middle = (weight * -0.1 + weight_2 * -0.15) / (1 + weight + weight_2)
    assert smooth(broken)[1] == pytest.approx(middle)
    assert smooth(as_floor)[1] == pytest.approx((weight * -0.1 + weight_2 * -0.3) / (1 + weight + weight_2))


def test_smoothing_chooses_better_rates_than_the_best_single_score():
    # 40 studies of 6 batch sizes x 7 rates, scores quadratic in log rate, noise as large as one step off the best rate.
    random = np.random.default_rng(0)
    sizes, offsets = [8, 16, 32, 64, 128, 256], np.linspace(-3, 3, 7)
    losses = {"best single score": [], "smoothed": []}
    for _ in range(40):
        settings, truth = [], {}
        for size in sizes:
            centre = random.uniform(-0.3, 0.3)
            for offset in offsets:
                rate = 1e-3 * math.sqrt(size / 32) * 3**offset
                truth[size, rate] = -((offset - centre) ** 2)
                settings.append(SettingScore(size, rate, truth[size, rate] + random.normal(0, 1)))
        single = {size: max((s.score, s.learning_rate) for s in settings if s.batch_size == size)[1] for size in sizes}
        for name, chosen in (("best single score", single), ("smoothed", best_rates(settings))):
            losses[name].append(np.mean([-truth[size, rate] for size, rate in chosen.items()]))
    difference = np.array(losses["best single score"]) - np.array(losses["smoothed"])
    assert difference.mean() > 4 * difference.std(ddof=1) / math.sqrt(40)


def test_a_rate_below_two_that_tie_does_not_win_by_being_lifted_to_them():
    settings = [SettingScore(64, rate, score) for rate, score in ((0.001, 0.95), (0.003, 0.975), (0.009, 0.975))]
    assert best_rates(settings)[64] > 0.001
