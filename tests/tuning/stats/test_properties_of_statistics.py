"""What holds of the statistics on any numbers: invariances, brute force, and closed forms where there is one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from tuning.objective import Objective
from tuning.stats.caveats import permutation_p_value, smallest_p_value
from tuning.stats.comparison import compare
from tuning.stats.findings import pareto_front
from tuning.stats.forecast import fit_memory, fit_throughput
from tuning.stats.scaling_law import fit_scaling_law
from tuning.stats.target import crossing, geometric_mean

scores = some.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
factors = some.floats(0.01, 100.0)
Table = Mapping[int, Mapping[int, float]]


def tables(least: int = 2) -> some.SearchStrategy[Table]:
    """Scores of 2 to 5 batch sizes on the same 2 to 5 seeds."""

    def make(shape: tuple[int, int]) -> some.SearchStrategy[Table]:
        k, n = shape
        return some.lists(some.lists(scores, min_size=n, max_size=n), min_size=k, max_size=k).map(
            lambda rows: {2**i: dict(enumerate(row)) for i, row in enumerate(rows)}
        )

    return some.tuples(some.integers(2, 5), some.integers(least, 5)).flatmap(make)


@given(table=tables(), data=some.data())
def test_a_comparison_does_not_depend_on_the_order_nor_on_the_names_of_seeds(
    table: Table, data: some.DataObject
) -> None:
    sizes = data.draw(some.permutations(list(table)))
    seeds = data.draw(some.permutations(list(table[1])))
    other = compare({size: {10 + seeds.index(seed): table[size][seed] for seed in seeds} for size in sizes})
    found = compare(table)
    assert other.means == pytest.approx(found.means)
    assert other.sigma == pytest.approx(found.sigma, abs=1e-12)
    assert other.degrees_of_freedom == found.degrees_of_freedom


@given(table=tables(), factor=factors, shift=some.integers(-5, 5))
def test_a_comparison_scales_and_shifts_with_the_scores(table: Table, factor: float, shift: int) -> None:
    found = compare(table)
    assert found.sigma is not None
    assume(found.sigma > 1e-6)
    other = compare({b: {s: factor * y + shift for s, y in row.items()} for b, row in table.items()})
    assert other.means == pytest.approx([factor * mean + shift for mean in found.means])
    assert other.sigma == pytest.approx(factor * found.sigma)
    assert other.inflation == pytest.approx(found.inflation)
    for size in table:
        assert other.gap(size) == pytest.approx(factor * found.gap(size), abs=1e-9 * (factor + 10))


@given(table=tables(), seed_effects=some.lists(scores, min_size=5, max_size=5))
def test_what_a_seed_does_to_all_batch_sizes_is_no_noise(table: Table, seed_effects: list[float]) -> None:
    found = compare(table)
    other = compare({b: {s: y + seed_effects[s] for s, y in row.items()} for b, row in table.items()})
    assert other.sigma == pytest.approx(found.sigma, abs=1e-9)
    assert other.degrees_of_freedom == found.degrees_of_freedom


@given(first=some.lists(scores, min_size=2, max_size=6), data=some.data())
def test_two_batch_sizes_compare_as_pairs_do(first: list[float], data: some.DataObject) -> None:
    second = data.draw(some.lists(scores, min_size=len(first), max_size=len(first)))
    found = compare({8: dict(enumerate(first)), 16: dict(enumerate(second))})
    assume(not found.unstable)
    differences = np.array(first) - np.array(second)
    worse = min((8, 16), key=found.mean)
    assert found.gap(worse) == pytest.approx(abs(differences.mean()), abs=1e-12)
    assert found.standard_error(8, 16) == pytest.approx(differences.std(ddof=1) / math.sqrt(len(first)), abs=1e-9)


@given(differences=some.lists(some.integers(-50, 50), min_size=1, max_size=6), factor=factors)
def test_a_permutation_test_is_the_share_of_sign_flips(differences: list[int], factor: float) -> None:
    total = abs(sum(differences))
    flips = list(itertools.product((-1, 1), repeat=len(differences)))
    expected = sum(abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= total for signs in flips)
    found = permutation_p_value([float(each) for each in differences])
    assert found == pytest.approx(expected / len(flips))
    assert smallest_p_value(len(differences)) <= found <= 1
    assert permutation_p_value([-factor * each for each in reversed(differences)]) == pytest.approx(found)


points = some.dictionaries(
    some.integers(0, 99), some.tuples(some.integers(0, 4), some.integers(0, 4), some.integers(0, 4)), max_size=9
)


@given(points=points)
def test_the_pareto_set_is_what_no_other_point_dominates(points: dict[int, tuple[int, ...]]) -> None:
    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        pairs = list(zip(a, b, strict=True))
        return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)

    front = pareto_front(points)
    assert front == [key for key in points if not any(dominates(points[other], points[key]) for other in points)]
    assert bool(front) == bool(points)
    assert set(pareto_front({key: [10.0 * value - 3 for value in points[key]] for key in reversed(points)})) == set(
        front
    )
    for key in points.keys() - set(front):  # whoever is not on it is dominated by someone who is
        assert any(dominates(points[other], points[key]) for other in front)


@given(values=some.lists(some.floats(1e-3, 1e3), min_size=1, max_size=6), factor=factors)
def test_a_geometric_mean_lies_between_and_scales(values: list[float], factor: float) -> None:
    found = geometric_mean(values)
    assert min(values) * (1 - 1e-12) <= found <= max(values) * (1 + 1e-12)
    assert geometric_mean(values[::-1]) == found
    assert geometric_mean([factor * value for value in values]) == pytest.approx(factor * found)


measured = some.lists(some.integers(0, 12).map(lambda power: 2**power), min_size=2, max_size=8, unique=True)


@given(sizes=measured, t0=some.floats(1e-4, 1.0), c=some.floats(1e-6, 1e-2), factor=factors)
def test_a_throughput_line_is_found_where_there_is_one(sizes: list[int], t0: float, c: float, factor: float) -> None:
    line = fit_throughput({size: t0 + c * size for size in sizes})
    assert [line.seconds(size) for size in sizes] == pytest.approx([t0 + c * size for size in sizes], rel=1e-6)
    assert line.accepted == (len(sizes) >= 4)
    slower = fit_throughput({size: factor * (t0 + c * size) for size in reversed(sizes)})
    assert slower.seconds(64) == pytest.approx(factor * line.seconds(64), rel=1e-6)
    assert slower.size_with_share(0.5) == pytest.approx(line.size_with_share(0.5), rel=1e-4)


@given(sizes=measured, noise=some.lists(some.floats(0.9, 1.1), min_size=8, max_size=8), factor=factors)
def test_a_memory_line_scales_and_its_residuals_cancel(sizes: list[int], noise: list[float], factor: float) -> None:
    peaks = {size: 1e6 * each + 1e4 * size for size, each in zip(sizes, noise, strict=False)}
    line = fit_memory(peaks)
    assert list(line.sizes) == sorted(sizes)[-len(line.sizes) :]
    assert sum(line.bytes(size) - peaks[size] for size in line.sizes) == pytest.approx(0, abs=1e-3)
    scaled = fit_memory({size: factor * peak for size, peak in reversed(peaks.items())})
    assert scaled.bytes(99) == pytest.approx(factor * line.bytes(99), rel=1e-6, abs=factor)
    assert scaled.largest_residual == pytest.approx(line.largest_residual, abs=1e-9)
    assert line.prediction_margin(2**14) >= line.prediction_margin(max(line.sizes)) >= 0


@given(
    sizes=some.lists(some.integers(2, 12).map(lambda power: 2**power), min_size=4, max_size=7, unique=True),
    critical=some.floats(16.0, 1024.0),
    fewest=some.floats(10.0, 1e5),
    noise=some.lists(some.floats(-0.1, 0.1), min_size=7, max_size=7),
    factor=factors,
)
def test_an_interval_of_the_scaling_law_holds_its_estimate_and_updates_scale(
    sizes: list[int], critical: float, fewest: float, noise: list[float], factor: float
) -> None:
    exact = {size: fewest * (1 + critical / size) for size in sizes}
    assume(max(sizes) > critical > min(sizes))
    found = fit_scaling_law(exact)
    assert found.critical_batch_size == pytest.approx(critical, rel=1e-2)
    assert found.smallest_updates == pytest.approx(fewest, rel=1e-2)
    noisy = {size: updates * math.exp(each) for (size, updates), each in zip(exact.items(), noise, strict=False)}
    law = fit_scaling_law(noisy)
    low, high = law.interval
    assert (low or 0.0) <= law.critical_batch_size <= (high or math.inf)
    scaled = fit_scaling_law({size: factor * updates for size, updates in reversed(noisy.items())})
    assert scaled.critical_batch_size == pytest.approx(law.critical_batch_size, rel=1e-3)
    assert scaled.smallest_updates == pytest.approx(factor * law.smallest_updates, rel=1e-3)


@given(
    curve=some.lists(some.floats(0.01, 1.0), min_size=1, max_size=8),
    target=some.floats(0.01, 1.0),
    direction=some.sampled_from(["min", "max"]),
    factor=some.integers(1, 9),
)
def test_a_crossing_lies_between_the_last_miss_and_the_first_hit(
    curve: list[float], target: float, direction: str, factor: int
) -> None:
    objective = Objective("val", direction)
    seen = [100.0 * (i + 1) for i in range(len(curve))]
    found = crossing(seen, curve, target, objective=objective)
    assert found is not None
    reached = [at for at, value in zip(seen, curve, strict=True) if objective.reaches(value, target)]
    assert found.reached == bool(reached)
    assert found.high == (reached[0] if reached else None)
    assert found.low <= found.examples <= (found.high or math.inf)
    assert all(not objective.reaches(value, target) for at, value in zip(seen, curve, strict=True) if at <= found.low)
    later = crossing([factor * at for at in seen], curve, target, objective=objective)
    assert later is not None
    assert later.examples == pytest.approx(factor * found.examples)
