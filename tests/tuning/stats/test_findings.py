import numpy as np
import pytest
from selection_helpers import MAX, MIN, study, timed, trial

from tuning.stats.arms import group_into_arms
from tuning.stats.costs import arm_costs
from tuning.stats.findings import TradeOff, explain, pareto_front
from tuning.trial import Status

SIZES = (4, 16, 64, 256, 1024, 4096)
LAW = {size: 100 * (1 + 256 / size) * size for size in SIZES}  # examples: S_min 100, B_crit 256
RATES = {size: size / (0.02 + 1e-4 * size) for size in SIZES}  # t0/c = 200


def explained(results, *, target=None, means=None):
    arms = group_into_arms(results, objective=MAX, target=target)
    costs = arm_costs(arms, objective=MAX, target=target, throughput=None)
    means = means or {arm.batch_size: 0.0 for arm in arms if arm.scores}
    return explain(arms, costs, means, objective=MAX)


def test_law_line_and_optimum_are_found_from_trials():
    found = explained(timed(LAW, rates=RATES, budget=2_000_000), target=0.9)
    assert found.scaling_law.critical_batch_size == pytest.approx(256, rel=0.01)
    assert found.scaling_law.smallest_updates == pytest.approx(100, rel=0.01)
    assert found.throughput_line.seconds_per_update == pytest.approx(0.02, rel=1e-6)
    assert found.optimum.batch_size == pytest.approx((256 * 200) ** 0.5, rel=0.01)


def test_a_size_of_which_a_training_was_late_does_not_enter_the_law():
    results = timed(LAW, rates=RATES, budget=2_000_000)
    results[5] = trial(16, 2, 0.5, examples_seen=(27_000,), objective_curve=(0.5,), examples_per_second=RATES[16])
    found = explained(results, target=0.9)
    assert found.scaling_law.sizes == (4, 64, 256, 1024, 4096)
    assert [offer.batch_size for offer in found.pareto if offer.examples_to_target is not None] == list(SIZES)


def test_optimum_is_withheld_where_the_critical_size_is_not_identified():
    found = explained(timed({s: LAW[s] for s in SIZES[:4]}, rates=RATES, budget=2_000_000), target=0.9)
    assert not found.scaling_law.identified
    assert found.optimum is None


def test_optimum_is_withheld_where_the_law_does_not_describe_the_updates():
    examples = {size: round(size * 100 * (1 + (256 / size) ** 1.35)) for size in SIZES}
    found = explained(timed(examples, rates=RATES, budget=20_000_000), target=0.9)
    assert found.scaling_law.identified
    assert found.optimum is None


def test_nothing_is_fitted_to_two_sizes_or_without_a_target():
    found = explained(timed({4: 1000, 16: 2000}, rates=RATES), target=0.9)
    assert (found.scaling_law, found.throughput_line, found.optimum) == (None, None, None)
    assert explained(study({4: 0.9, 16: 0.9, 64: 0.9})).scaling_law is None


def test_sizes_at_the_edge_of_their_learning_rates_are_left_out_of_the_law():
    results = timed(LAW, budget=2_000_000, seeds=1)
    at_edge = [
        trial(
            64,
            0,
            t.score,
            learning_rate=rate,
            examples_seen=t.curve(MAX.name)[0],
            objective_curve=t.curve(MAX.name)[1],
        )
        for rate, examples in ((0.1, 90_000), (0.01, 60_000), (0.001, 32_000))
        for t in timed({64: examples}, seeds=1, budget=2_000_000)
    ]
    found = explained([t for t in results if t.batch_size != 64] + at_edge, target=0.9)
    assert 64 not in found.scaling_law.sizes
    assert "the best learning rate was at an edge for 64" in found.scaling_law.doubts


def test_pareto_front_weighs_score_time_and_memory():
    results = [
        trial(8, 0, 0.95, examples_per_second=100.0, peak_memory_bytes=1e9),
        trial(16, 0, 0.94, examples_per_second=200.0, peak_memory_bytes=2e9),
        trial(32, 0, 0.93, examples_per_second=150.0, peak_memory_bytes=3e9),
        trial(64, 0, 0.90, examples_per_second=400.0, peak_memory_bytes=4e9),
    ]
    found = explained(results, means={8: 0.95, 16: 0.94, 32: 0.93, 64: 0.90}).pareto
    assert [row.batch_size for row in found if row.efficient] == [8, 16, 64]
    assert found[2] == TradeOff(32, 0.93, 1 / 150, None, 3e9, efficient=False)


def test_smaller_scores_are_better_on_the_front_when_minimising():
    results = [trial(8, 0, 0.30, examples_per_second=100.0), trial(16, 0, 0.20, examples_per_second=200.0)]
    arms = group_into_arms(results, objective=MIN)
    costs = arm_costs(arms, objective=MIN, target=None, throughput=None)
    found = explain(arms, costs, {8: 0.30, 16: 0.20}, objective=MIN).pareto
    assert [(row.batch_size, row.efficient) for row in found] == [(8, False), (16, True)]


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_front_agrees_with_brute_force(columns):
    random = np.random.default_rng(columns)
    table = random.integers(0, 6, (60, columns))
    nowhere_larger = (table[None] <= table[:, None]).all(axis=2)
    somewhere_smaller = (table[None] < table[:, None]).any(axis=2)
    expected = np.flatnonzero(~(nowhere_larger & somewhere_smaller).any(axis=1)).tolist()
    points = {i: tuple(row) for i, row in enumerate(table.tolist())}
    assert pareto_front(points) == expected


def test_equal_points_are_all_kept():
    assert pareto_front({"a": (1, 2), "b": (1, 2), "c": (2, 2)}) == ["a", "b"]


def test_columns_with_unknown_values_are_left_out():
    assert pareto_front({8: (1.0, None), 16: (2.0, 5.0), 32: (3.0, float("nan"))}) == [8]
    assert pareto_front({8: (None,), 16: (2.0,)}) == [8, 16]
    assert pareto_front({}) == []


def test_ragged_points_are_refused():
    with pytest.raises(ValueError, match=r"equally many numbers; got lengths \[1, 2\]"):
        pareto_front({8: (1.0,), 16: (1.0, 2.0)})


def test_a_size_that_diverged_at_a_seed_is_left_out_of_the_law():
    results = [*timed(LAW, budget=2_000_000), trial(64, 3, status=Status.DIVERGED)]
    assert explained(results, target=0.9).scaling_law.sizes == (4, 16, 256, 1024, 4096)
