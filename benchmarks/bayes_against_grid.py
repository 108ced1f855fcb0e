"""Does a short Bayesian search find what a 7 x 7 grid finds? On workloads that really train.

The grid trains 7 batch sizes, each at 7 learning rates from a tenth to ten times the rule's, with 3 seeds: 147 trials.
The search makes 20 proposals and confirms the best of three batch sizes on 3 fresh seeds. Compared are the best mean of
the grid and the best confirmed mean of the search, in standard errors of the grid's; then both settings once more on
seeds that neither has seen, since the best of 49 means is too good by luck.

    python benchmarks/bayes_against_grid.py                                  # digits: some minutes
    python benchmarks/bayes_against_grid.py mnist --data mnist.npz           # half an hour on 2 cores
    python benchmarks/bayes_against_grid.py mnist --directory studies        # kept there; continued if interrupted
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces import BatchSize, LearningRate, Setting
from search_spaces.workload import Workload, load_workload
from tuning import BayesianOptimization, GridSearch
from tuning.instructions import Budget
from tuning.record.tracker import NullTracker
from tuning.run.executor import Executor
from tuning.search.options import SearchArguments, SearchOptions
from tuning.search.workers import running_executor
from tuning.trial import CONFIRM, SEARCH, EpochReport, Trial, TrialOutcome

BATCH_SIZES = {"digits": (8, 16, 32, 64, 128, 256, 512), "mnist": (16, 32, 64, 128, 256, 512, 1024)}
MULTIPLES = tuple(float(multiple) for multiple in np.geomspace(0.1, 10, 7))
SEEDS, TRIALS, FRESH = 3, 20, 500_000

Means = dict[Setting, list[float]]


def scores(records: Sequence[Trial], stage: str) -> Means:
    """The scores of the trials of a stage by setting."""
    found: Means = defaultdict(list)
    for record in records:
        if record.stage == stage and record.score is not None:
            found[record.setting].append(record.score)
    return found


def best(found: Means) -> Setting:
    """The setting of the best mean among those with every seed."""
    return max((each for each in found if len(found[each]) == SEEDS), key=lambda each: statistics.fmean(found[each]))


def standard_error(found: Means) -> float:
    """Of a mean of `SEEDS` scores, pooled over the best quarter of the settings: where rates fail, noise differs."""
    complete = sorted((each for each in found.values() if len(each) == SEEDS), key=statistics.fmean, reverse=True)
    better = complete[: max(1, len(complete) // 4)]
    return math.sqrt(statistics.fmean(statistics.variance(each) for each in better) / SEEDS)


def searched(tuner: Any, arguments: SearchArguments) -> Any:
    """The tuner after its search."""
    data = arguments.data
    validation = (data.x_val, data.y_val)
    tuner.search(data.x_train, data.y_train, validation_data=validation, epochs=arguments.epochs, verbose=0)
    return tuner


def on_fresh_seeds(executor: Executor, setting: Setting, epochs: int, seeds: int) -> list[float]:
    """The final accuracies of a setting on seeds that no search has used."""
    found = []
    for seed in range(seeds):
        trial = Trial(setting, FRESH + seed, budget=Budget(epochs), trial_id=f"fresh-{seed}")
        executor.submit(trial, executor.devices()[0].name)
        last: EpochReport | None = None
        ended = False
        while not ended:
            for event in executor.events(1.0):
                last = event if isinstance(event, EpochReport) else last
                ended = isinstance(event, TrialOutcome)
        if last is None:
            raise SystemExit(f"The training of {setting} failed.")
        found.append(last.metrics["val_accuracy"])
    return found


def compare(name: str, workload: Workload, arguments: SearchArguments, directory: Path, fresh_seeds: int) -> None:
    """Run both searches and print them beside one another."""
    common: dict[str, Any] = {
        "objective": "val_accuracy",
        "batch_size": BatchSize.of(*BATCH_SIZES[name]),
        "seeds": SEEDS,
        "directory": directory,
        "tracker": NullTracker(),
        "keep_models": 0,
        "rule": "quality",
    }
    rates = LearningRate(spread=MULTIPLES)
    grid = searched(GridSearch(workload.build, learning_rate=rates, project_name=f"{name}-grid", **common), arguments)
    bayes = searched(
        BayesianOptimization(workload.build, max_trials=TRIALS, project_name=f"{name}-bayes", **common), arguments
    )
    of_grid, confirmed = scores(grid.oracle.records, SEARCH), scores(bayes.oracle.records, CONFIRM)
    sizes = sorted(record.setting.batch_size for record in bayes.oracle.records if record.stage == SEARCH)
    error = standard_error(of_grid)
    print(f"\n{name}: {len(grid.oracle.records)} trials of the grid, {len(bayes.oracle.records)} of the search")
    print(f"batch sizes proposed: {', '.join(map(str, sizes))}")
    print(f"{'':8s}{'batch':>6s}{'rate':>10s}{'mean of 3':>11s}{f'on {fresh_seeds} fresh seeds':>20s}")
    means = []
    with running_executor(workload.build, arguments, SearchOptions(workers=1)) as executor:
        for title, found in (("grid", of_grid), ("bayes", confirmed)):
            setting = best(found)
            means.append(statistics.fmean(found[setting]))
            fresh = on_fresh_seeds(executor, setting, arguments.epochs, fresh_seeds)
            told = f"{statistics.fmean(fresh):.4f} ± {statistics.stdev(fresh) / math.sqrt(len(fresh)):.4f}"
            print(f"{title:8s}{setting.batch_size:6d}{setting.learning_rate or 0:10.2g}{means[-1]:11.4f}{told:>20s}")
    behind = (means[0] - means[1]) / error
    print(f"standard error of a mean of 3 seeds: {error:.4f}; the search is {behind:+.2f} of them behind the grid")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", nargs="?", choices=list(BATCH_SIZES), default="digits")
    parser.add_argument("--data", help="a file with the workload's data")
    parser.add_argument("--directory", type=Path, help="where to keep the studies")
    parser.add_argument("--fresh-seeds", type=int, default=5)
    asked = parser.parse_args()
    workload = load_workload(asked.workload)
    data = workload.read_file(asked.data) if asked.data and workload.read_file else workload.load_data()
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SearchArguments(data, workload.epochs)
        compare(asked.workload, workload, arguments, asked.directory or Path(scratch), asked.fresh_seeds)


if __name__ == "__main__":
    main()
