"""The fits and the benchmark's rules on Zeus's traces, against values computed once with other code."""

import importlib.util
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tuning.stats.forecast import fit_throughput
from tuning.stats.scaling_law import fit_scaling_law, time_optimum

ROOT = Path(__file__).resolve().parents[3]
FILES = [ROOT.parent / "shared" / "data" / f"zeus_summary_{name}.csv" for name in ("train", "power_v100")]

pytestmark = pytest.mark.skipif(
    not all(file.is_file() for file in FILES),
    reason="needs ../shared/data/zeus_summary_train.csv and zeus_summary_power_v100.csv",
)


@pytest.fixture(scope="module")
def zeus():
    spec = importlib.util.spec_from_file_location("zeus_benchmark", ROOT / "benchmarks" / "zeus.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def zeus_energy(zeus):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "zeus", zeus)
        spec = importlib.util.spec_from_file_location("zeus_energy_benchmark", ROOT / "benchmarks" / "zeus_energy.py")
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cases(zeus):
    return zeus.load()


def line_of(zeus, case):
    examples = zeus.EXAMPLES[case.workload]
    return fit_throughput({size: s * size / examples for size, s in case.seconds_per_epoch.items()})


def law_of(zeus, case):
    examples = zeus.EXAMPLES[case.workload]
    reached = {size: [e for e in runs if math.isfinite(e)] for size, runs in case.runs.items()}
    return fit_scaling_law({size: float(np.mean(e)) * examples / size for size, e in reached.items()})


def excess_by_workload(cases, rule):
    excess = defaultdict(list)
    for case in cases:
        excess[case.workload].append(100 * case.excess(rule(case)))
    return [float(np.mean(values)) for values in excess.values()]


def test_cases_are_those_of_six_workloads(cases):
    counts = defaultdict(int)
    for case in cases:
        counts[case.workload] += 1
    assert list(counts.values()) == [12, 6, 5, 5, 2, 1]


def test_rules_that_need_no_runs_cost_what_they_are_known_to(zeus, cases):
    for rule, expected in (
        (zeus.largest, [435.2, 7.1, 79.2, 0.0, 2.2, 23.5]),
        (zeus.thirty_two, [238.0, 43.1, 1.5, 14705.1, 7.4, 18.7]),
        (zeus.throughput_knee, [4.8, 43.1, 1.5, 0.0, 7.4, 0.0]),
    ):
        assert excess_by_workload(cases, lambda case, rule=rule: rule(case, {})) == pytest.approx(expected, abs=0.1)


def test_optimum_of_the_fits_costs_what_it_is_known_to(zeus, cases):
    def optimum(case):
        found = time_optimum(law_of(zeus, case), line_of(zeus, case), smallest=min(case.runs), largest=max(case.runs))
        return min(case.runs, key=lambda size: abs(math.log(size / found.batch_size)))

    assert excess_by_workload(cases, optimum) == pytest.approx([4.5, 7.1, 10.9, 0.0, 2.2, 0.0], abs=0.1)


def test_fitted_updates_times_measured_seconds_cost_what_they_are_known_to(zeus, cases):
    def shortest(case):
        law = law_of(zeus, case)
        return min(case.runs, key=lambda size: law.examples(size) * case.seconds_per_epoch[size])

    assert excess_by_workload(cases, shortest) == pytest.approx([11.8, 2.4, 6.8, 0.0, 0.0, 0.0], abs=0.1)


def test_lines_of_seconds_per_update(zeus, cases):
    lines = {case.workload: line_of(zeus, case) for case in cases if len(case.seconds_per_epoch) == 10}
    assert lines["cifar100"].seconds_per_update == pytest.approx(0.03363, rel=1e-3)
    assert lines["cifar100"].seconds_per_example == pytest.approx(1.198e-4, rel=1e-3)
    assert lines["cifar100"].largest_residual == pytest.approx(0.249, abs=1e-3)
    assert not lines["cifar100"].accepted
    squad = next(line_of(zeus, case) for case in cases if case.workload == "squad")
    assert (squad.seconds_per_update, squad.seconds_per_example) == (0, pytest.approx(0.01903, rel=1e-3))


def test_pooled_picks_cost_less_than_the_measured_minimum_and_never_much(zeus, cases):
    # Two draws of three runs each; over many draws the means are about 1.4 % and 2.0 %.
    pooled = zeus.mean_excess(cases, zeus.this_project, 3, 2)
    measured = zeus.mean_excess(cases, zeus.measured_argmin, 3, 2)
    assert np.mean(list(pooled.values())) < np.mean(list(measured.values())) + 0.5
    assert max(pooled.values()) < 8


def test_from_all_runs_energy_finds_the_batch_size_of_least_energy(zeus_energy):
    cases = zeus_energy.load_with_power()
    picks = [zeus_energy.by_energy(found, zeus_energy.all_runs(found)) for found in cases]
    excess = [found.excess(size) for found, size in zip(cases, picks, strict=True)]
    assert len(cases) == 31
    assert sum(each == 0 for each in excess) == 30
    assert max(excess) < 0.1


def test_energy_picks_other_sizes_than_time_and_saves_energy(zeus_energy):
    cases = zeus_energy.load_with_power()
    rules = (zeus_energy.by_energy, zeus_energy.by_time)
    picks = [[rule(found, zeus_energy.all_runs(found)) for found in cases] for rule in rules]
    spent = [sum(found.excess(size) for found, size in zip(cases, sizes, strict=True)) for sizes in picks]
    assert sum(one != other for one, other in zip(*picks, strict=True)) >= 12
    assert spent[0] < 0.05 * spent[1]
