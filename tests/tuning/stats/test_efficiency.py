import math

import numpy as np

from tuning.stats.comparison import compare
from tuning.stats.decision import pool_efficiencies

SIZES = 8 * 2 ** np.arange(7)


def study(random, critical, runs, sigma):
    """Measured -ln(examples) of the law, and the true ones."""
    truth = -np.log1p(SIZES / critical)
    table = truth[:, None] + random.normal(0, sigma, (len(SIZES), runs))
    return compare({int(size): dict(enumerate(row.tolist())) for size, row in zip(SIZES, table, strict=True)}), truth


def excess(chosen, seconds):
    return seconds[chosen] / seconds.min() - 1


def test_pooled_times_pick_better_than_the_measured_minimum_where_the_law_holds():
    random = np.random.default_rng(0)
    differences = []
    for _ in range(60):
        measured, truth = study(random, math.exp(random.uniform(3, 7)), 3, random.choice([0.05, 0.1, 0.2]))
        log_rate = np.log(SIZES / (SIZES + math.exp(random.uniform(2, 6))))
        seconds = np.exp(-(truth + log_rate))
        pooled = np.array(pool_efficiencies(measured).means)
        plain = excess(int(np.argmax(np.array(measured.means) + log_rate)), seconds)
        differences.append(plain - excess(int(np.argmax(pooled + log_rate)), seconds))
    assert np.mean(differences) > 2 * np.std(differences, ddof=1) / math.sqrt(60)


def test_single_runs_keep_clear_differences():
    random = np.random.default_rng(1)
    measured, _ = study(random, 20.0, 1, 0.01)
    pooled = pool_efficiencies(measured)
    assert np.all(np.diff(pooled.means) < 0)


def test_one_lucky_run_among_consistent_neighbours_is_not_believed():
    efforts = {int(size): {0: -math.log1p(size / 200) + (0.5 if size == 32 else 0.0)} for size in SIZES}
    found = pool_efficiencies(compare(efforts))
    assert found.mean(32) - (found.mean(16) + found.mean(64)) / 2 < 0.4
