"""How much longer than necessary the recommended batch size trains, on the traces of Zeus's six workloads.

    python benchmarks/zeus.py               # about 6 minutes
    python benchmarks/zeus.py --draws 20 --runs 1

Reads `../shared/data/zeus_summary_train.csv` and `zeus_summary_power_v100.csv` (github.com/ml-energy/zeus, Apache-2.0):
epochs until a target metric was first reached, 1 to 10 runs per batch size, and seconds per epoch on a V100.

A case is one workload and target with at least 4 batch sizes that reached it in 60 % of their runs, and at least 5
epochs for the slowest. The true time of a batch size is (mean epochs of the runs that reached it / share that did) x
seconds per epoch, and the excess of a pick is its true time over the least one, less 1. Excesses are means over draws,
then over the cases of a workload, then over workloads. Each draw takes 1, 2 or 3 runs per batch size without
replacement (all there are, if fewer); the rules see those runs only, and the seconds per epoch. A run that missed the
target counts as trained for as many epochs as the longest of its case.

"this project" is `recommend` with the rule "fastest", a target, and one TrialResult per run.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuning.objective import Objective
from tuning.stats.recommendation import recommend
from tuning.trial import Trial, finished_trial

DATA = Path(__file__).parents[1].parent / "shared" / "data"
EXAMPLES = {
    "cifar100": 50_000,
    "imagenet": 1_281_167,
    "librispeech": 281_241,
    "movielens-1m": 4_970_845,
    "sentiment140": 1_440_000,
    "squad": 88_524,
}
LEAST_SHARE, LEAST_SIZES, LEAST_EPOCHS = 0.6, 4, 5
SEEDS = (1, 2, 3)
REACHED = Objective("reached")

Draw = Mapping[int, Sequence[float]]  # epochs to the target by batch size; inf: not reached


@dataclass(frozen=True)
class Case:
    """One workload and target: runs and seconds per epoch by batch size."""

    workload: str
    network: str
    optimizer: str
    runs: Mapping[int, Sequence[float]]
    seconds_per_epoch: Mapping[int, float]

    @property
    def budget(self) -> float:
        """Epochs of the longest run: what those that missed the target had at least."""
        return max(epochs for runs in self.runs.values() for epochs in runs if math.isfinite(epochs))

    def time(self, batch_size: int) -> float:
        """True seconds to the target."""
        return expected_epochs(self.runs[batch_size]) * self.seconds_per_epoch[batch_size]

    def excess(self, batch_size: int) -> float:
        """Its time over the least one, less 1."""
        return self.time(batch_size) / min(map(self.time, self.runs)) - 1

    def draw(self, count: int, random: np.random.Generator) -> Draw:
        """`count` runs of each batch size, without replacement."""
        return {
            size: [epochs[i] for i in random.choice(len(epochs), min(count, len(epochs)), replace=False)]
            for size, epochs in self.runs.items()
        }


def expected_epochs(epochs: Sequence[float]) -> float:
    """Mean epochs of the runs that reached the target, divided by their share; inf if none did."""
    reached = [value for value in epochs if math.isfinite(value)]
    return sum(reached) / len(reached) / (len(reached) / len(epochs)) if reached else math.inf


def load() -> list[Case]:
    """Every case of the two files."""
    seconds = _seconds_per_epoch()
    runs: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (DATA / "zeus_summary_train.csv").open() as file:
        for row in csv.DictReader(file):
            key = (row["dataset"], row["network"], row["optimizer"], row["target_metric"])
            epoch = row["target_epoch"]
            runs[key][int(row["batch_size"])].append(float(epoch) if epoch not in ("", "nan") else math.inf)
    cases = []
    for (workload, network, optimizer, _), by_size in sorted(runs.items()):
        kept = {size: epochs for size, epochs in sorted(by_size.items()) if _share(epochs) >= LEAST_SHARE}
        slowest = max((expected_epochs(epochs) * _share(epochs) for epochs in kept.values()), default=0.0)
        timed = {size: seconds.get((workload, network, optimizer, size)) for size in kept}
        times = {size: time for size, time in timed.items() if time is not None}
        if len(times) >= LEAST_SIZES and slowest >= LEAST_EPOCHS:
            cases.append(Case(workload, network, optimizer, {size: kept[size] for size in times}, times))
    return cases


def _share(epochs: Sequence[float]) -> float:
    return sum(map(math.isfinite, epochs)) / len(epochs)


def _seconds_per_epoch() -> dict[tuple[str, str, str, int], float]:
    """At the largest power limit."""
    found: dict[tuple[str, str, str, int], tuple[float, float]] = {}
    with (DATA / "zeus_summary_power_v100.csv").open() as file:
        for row in csv.DictReader(file):
            key = (row["dataset"], row["network"], row["optimizer"], int(row["batch_size"]))
            found[key] = max(found.get(key, (0.0, 0.0)), (float(row["power_limit"]), float(row["time_per_epoch"])))
    return {key: time for key, (_, time) in found.items()}


def largest(case: Case, draw: Draw) -> int:
    """The largest batch size."""
    del draw
    return max(case.runs)


def thirty_two(case: Case, draw: Draw) -> int:
    """The size nearest to 32, Keras's default."""
    del draw
    return min(case.runs, key=lambda size: abs(math.log(size / 32)))


def throughput_knee(case: Case, draw: Draw) -> int:
    """The smallest size with 90 % of the best throughput."""
    del draw
    best = min(case.seconds_per_epoch.values())
    return min(size for size, seconds in case.seconds_per_epoch.items() if best / seconds >= 0.9)


def measured_argmin(case: Case, draw: Draw) -> int:
    """The least measured time to the target."""
    return min(draw, key=lambda size: expected_epochs(draw[size]) * case.seconds_per_epoch[size])


def this_project(case: Case, draw: Draw) -> int:
    """`recommend` from the runs drawn."""
    examples = EXAMPLES[case.workload]
    results = [_trial(case, size, seed, epochs) for size, runs in draw.items() for seed, epochs in enumerate(runs)]
    throughput = {size: examples / seconds for size, seconds in case.seconds_per_epoch.items()}
    return recommend(results, objective=REACHED, target=1.0, throughput=throughput).batch_size


def _trial(case: Case, batch_size: int, seed: int, epochs: float) -> Trial:
    """A run that scores 0 until it reaches the target, and then 1: the files tell no more."""
    curve = curve_of(epochs, EXAMPLES[case.workload], case.budget)
    return finished_trial(batch_size, seed, curve[-1][1], metric=REACHED.name, curve=curve)


def curve_of(epochs: float, examples: int, budget: float) -> list[tuple[int, float]]:
    """Return examples seen and the score of a run that needed so many epochs of so many examples; inf: never."""
    return [(int(min(epochs, budget) * examples), float(math.isfinite(epochs)))]


def mean_excess(cases: Sequence[Case], rule: Callable[[Case, Draw], int], count: int, draws: int) -> dict[str, float]:
    """Excess in percent by workload."""
    by_workload: dict[str, list[float]] = defaultdict(list)
    for number, case in enumerate(cases):
        random = np.random.default_rng([count, number])  # the same draws for every rule
        excess = [case.excess(rule(case, case.draw(count, random))) for _ in range(draws)]
        by_workload[case.workload].append(100 * float(np.mean(excess)))
    return {workload: float(np.mean(values)) for workload, values in by_workload.items()}


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
    cases = load()
    workloads = list(dict.fromkeys(case.workload for case in cases))
    print(f"{len(cases)} cases; excess time to target in %, mean of {draws} draws")
    print(f"{'rule':28s}" + "".join(f"{workload:>14s}" for workload in workloads) + f"{'mean':>9s}")
    rows: list[tuple[str, Callable[[Case, Draw], int], int]] = [
        ("largest batch", largest, 1),
        ("B = 32", thirty_two, 1),
        ("90 % of best throughput", throughput_knee, 1),
    ]
    for count in counts:
        rows += [(f"measured argmin, {count} run(s)", measured_argmin, count)]
        rows += [(f"this project, {count} run(s)", this_project, count)]
    for name, rule, count in rows:
        excess = mean_excess(cases, rule, count, draws if rule in (measured_argmin, this_project) else 1)
        mean = float(np.mean(list(excess.values())))
        print(f"{name:28s}" + "".join(f"{excess[w]:14.1f}" for w in workloads) + f"{mean:9.2f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
