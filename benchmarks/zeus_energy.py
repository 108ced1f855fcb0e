"""How much more energy than necessary the recommended batch size takes, on the traces of Zeus's six workloads.

    python benchmarks/zeus_energy.py               # about 8 minutes
    python benchmarks/zeus_energy.py --draws 20 --runs 1

Cases, truth and draws are those of `zeus.py`, whose power column is read, too: watts on a V100 at its largest power
limit. The true energy of a batch size is its true time x watts, and the excess of a pick is its true energy over the
least one, less 1; beside it stands the excess of its true time over the least time.

"cost energy" and "cost time" are `recommend` with the rule "fastest", a target, and joules per example as trials
tell them.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from zeus import DATA, EXAMPLES, REACHED, SEEDS, Case, Draw, curve_of, expected_epochs, load

from tuning.stats.recommendation import recommend
from tuning.trial import Trial, finished_trial


@dataclass(frozen=True)
class EnergyCase:
    """A case of `zeus.py`, and the watts of each batch size."""

    case: Case
    watts: Mapping[int, float]

    def joules(self, batch_size: int) -> float:
        """True joules to the target."""
        return self.case.time(batch_size) * self.watts[batch_size]

    @property
    def least(self) -> int:
        """The batch size of the least true energy."""
        return min(self.case.runs, key=self.joules)

    def excess(self, batch_size: int) -> float:
        """Its energy over the least one, less 1."""
        return self.joules(batch_size) / self.joules(self.least) - 1


Rule = Callable[[EnergyCase, Draw], int]


def load_with_power() -> list[EnergyCase]:
    """Every case of the two files."""
    found: dict[tuple[str, str, str, int], tuple[float, float]] = {}
    with (DATA / "zeus_summary_power_v100.csv").open() as file:
        for row in csv.DictReader(file):
            key = (row["dataset"], row["network"], row["optimizer"], int(row["batch_size"]))
            found[key] = max(found.get(key, (0.0, 0.0)), (float(row["power_limit"]), float(row["average_power"])))
    return [
        EnergyCase(case, {size: found[case.workload, case.network, case.optimizer, size][1] for size in case.runs})
        for case in load()
    ]


def all_runs(found: EnergyCase) -> Draw:
    """Every run of every batch size."""
    return found.case.runs


def soonest(found: EnergyCase, draw: Draw) -> int:
    """The least true time."""
    return min(found.case.runs, key=found.case.time)


def measured_argmin(found: EnergyCase, draw: Draw) -> int:
    """The least measured energy to the target."""
    case = found.case
    return min(draw, key=lambda b: expected_epochs(draw[b]) * case.seconds_per_epoch[b] * found.watts[b])


def by_energy(found: EnergyCase, draw: Draw) -> int:
    """`recommend` by energy, from the runs drawn."""
    return _recommended(found, draw, "energy")


def by_time(found: EnergyCase, draw: Draw) -> int:
    """`recommend` by time, from the runs drawn."""
    return _recommended(found, draw, "time")


def _recommended(found: EnergyCase, draw: Draw, cost: str) -> int:
    trials = [_trial(found, size, seed, e) for size, runs in draw.items() for seed, e in enumerate(runs)]
    return recommend(trials, objective=REACHED, target=1.0, cost=cost).batch_size


def _trial(found: EnergyCase, batch_size: int, seed: int, epochs: float) -> Trial:
    case = found.case
    examples, seconds = EXAMPLES[case.workload], case.seconds_per_epoch[batch_size]
    curve = curve_of(epochs, examples, case.budget)
    return finished_trial(
        batch_size,
        seed,
        curve[-1][1],
        metric=REACHED.name,
        curve=curve,
        examples_per_second=examples / seconds,
        joules_per_example=found.watts[batch_size] * seconds / examples,
    )


def mean_excess(cases: Sequence[EnergyCase], rule: Rule, count: int, draws: int) -> dict[str, tuple[float, float]]:
    """Excess of energy and of time in percent, by workload."""
    by_workload: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number, found in enumerate(cases):
        random = np.random.default_rng([count, number])  # the same draws for every rule, and as in zeus.py
        picks = [rule(found, found.case.draw(count, random)) for _ in range(draws)]
        excess = np.mean([(found.excess(size), found.case.excess(size)) for size in picks], axis=0)
        by_workload[found.case.workload].append((100 * float(excess[0]), 100 * float(excess[1])))
    means = {workload: np.mean(values, axis=0) for workload, values in by_workload.items()}
    return {workload: (float(energy), float(time)) for workload, (energy, time) in means.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--draws", type=int, default=100, help="random draws of runs per case (default 100)")
    parser.add_argument(
        "--runs", default=",".join(map(str, SEEDS)), help="runs per batch size, so that one run takes less"
    )
    asked = parser.parse_args(arguments)
    draws, counts = asked.draws, [int(count) for count in asked.runs.split(",")]
    missing = [name for name in ("zeus_summary_train.csv", "zeus_summary_power_v100.csv") if not (DATA / name).exists()]
    if missing:
        print(f"Skipped: needs ../shared/data/{' and ../shared/data/'.join(missing)}.", file=sys.stderr)
        return 0
    cases = load_with_power()
    same = sum(by_energy(found, all_runs(found)) == found.least for found in cases)
    apart = sum(soonest(found, {}) != found.least for found in cases)
    print(f"{len(cases)} cases; in {apart} the least energy is not at the least time")
    print(f"from all runs, cost energy finds the batch size of least energy in {same}")
    workloads = list(dict.fromkeys(found.case.workload for found in cases))
    print(f"excess energy to target in %, mean of {draws} draws; the last two columns: mean energy, mean time")
    print(f"{'rule':28s}" + "".join(f"{workload:>14s}" for workload in workloads) + f"{'energy':>9s}{'time':>9s}")
    rows: list[tuple[str, Rule, int]] = [("least true time", soonest, 1)]
    for count in counts:
        rows += [(f"measured argmin, {count} run(s)", measured_argmin, count)]
        rows += [(f"cost time, {count} run(s)", by_time, count), (f"cost energy, {count} run(s)", by_energy, count)]
    for name, rule, count in rows:
        excess = mean_excess(cases, rule, count, 1 if rule is soonest else draws)
        energy, time = np.mean(list(excess.values()), axis=0)
        cells = "".join(f"{excess[workload][0]:14.1f}" for workload in workloads)
        print(f"{name:28s}{cells}{energy:9.2f}{time:9.2f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
