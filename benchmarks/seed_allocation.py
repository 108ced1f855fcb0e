"""How many fresh seeds a confirmation spends, and how much time its pick loses: by knowledge gradient, and fixed.

    python benchmarks/seed_allocation.py [--studies 60]

Made studies of 6 batch sizes: ln(examples to the target) follows the law of updates with deviations of N(0, 0.05), the
clock is right, and one training's noise is 0.08, 0.15 or 0.3, four fifths of its variance common to the sizes of a
seed. "fixed" trains every batch size with 3 seeds and takes what `recommend` picks; "gradient" is what `tune` does: a
seed for all, a second for those that may be the best, then those of `sizes_worth_another_seed` until there are none, 5
at most. Seconds are those of the trainings, as a share of three seeds for all. Excess is the true time of the pick over
the least, less 1, in percent.

"scores" are those of grids without a target: true means follow a parabola in ln B with deviations of N(0, 0.2 sd), sd
being one training's noise, half of its variance common to a seed; the seconds of training fall by a third from size to
size. "fixed" is 3 seeds for all, "auto" what `grid --seeds auto` does. Loss is how far the pick's true mean lies below
the best, in sd; time that of the pick over that of the fastest size.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tuning.objective import Objective
from tuning.stats.next_seed import sizes_worth_another_seed
from tuning.stats.recommendation import recommend
from tuning.trial import CONFIRM, Trial, finished_trial

SIZES = (8, 16, 32, 64, 128, 256)
OBJECTIVE, TARGET = Objective("val_accuracy"), 0.9
FIRST, FIXED, MOST = 2, 3, 5
Run = Callable[[int, int], Trial]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=60, help="at each noise (default 60)")
    options = parser.parse_args(arguments)
    print(f"{options.studies} studies at each noise: runs, share of seconds, excess in percent with its standard error")
    for noise in (0.08, 0.15, 0.3):
        random = np.random.default_rng(int(1000 * noise))
        found = np.array([study(noise, random) for _ in range(options.studies)])
        means, errors = found.mean(axis=0), found.std(axis=0, ddof=1) / math.sqrt(len(found))
        for name, i in (("fixed", 0), ("gradient", 3)):
            runs, share, excess = (f"{means[i]:6.1f}", f"{means[i + 1]:6.2f}", f"{means[i + 2]:7.2f}")
            print(f"{noise:5.2f} {name:9s}{runs}{share}{excess} ± {errors[i + 2]:.2f}", flush=True)
    compare_scores(options.studies)
    return 0


def compare_scores(studies: int) -> None:
    """Print the runs of grids without a target, and what their picks lose."""
    random = np.random.default_rng(1)
    found = np.array([score_study(random) for _ in range(studies)])
    means, errors = found.mean(axis=0), found.std(axis=0, ddof=1) / math.sqrt(len(found))
    print("scores: runs, loss in sd with its standard error, time of the pick over the least")
    for name, i in (("fixed", 0), ("auto", 3)):
        print(f"{name:15s}{means[i]:6.1f}{means[i + 1]:7.2f} ± {errors[i + 1]:.2f}{means[i + 2]:7.2f}", flush=True)


def score_study(random: np.random.Generator) -> list[float]:
    """Runs, loss and time of both ways, on the same trainings."""
    places = np.arange(len(SIZES))
    truth = -random.uniform(0, 1) * (places - random.uniform(0, 5)) ** 2 + random.normal(0, 0.2, len(SIZES))
    seeds, own = random.normal(0, 1, MOST), random.normal(0, 1, (len(SIZES), MOST))
    scores = 0.9 + 0.01 * (truth[:, None] + math.sqrt(0.5) * (seeds + own))
    seconds = 1.5**-places

    def run(size: int, seed: int) -> Trial:
        i = SIZES.index(size)
        return finished_trial(size, seed, float(scores[i, seed]), examples_per_second=float(1 / seconds[i]))

    found: list[float] = []
    for trials in ([run(size, seed) for size in SIZES for seed in range(FIXED)], allocate(run, FIRST)):
        pick = SIZES.index(recommend(trials, objective=OBJECTIVE).batch_size)
        found += [len(trials), float(truth.max() - truth[pick]), float(seconds[pick] / seconds.min())]
    return found


def study(noise: float, random: np.random.Generator) -> list[float]:
    """Runs, share of seconds and excess of both ways, on the same trainings."""
    sizes = np.array(SIZES, dtype=float)
    examples = np.log1p(sizes / math.exp(random.uniform(2, 6))) + random.normal(0, 0.05, len(SIZES))
    rates = sizes / (sizes + math.exp(random.uniform(2, 6)))
    seeds, own = random.normal(0, 1, MOST), random.normal(0, 1, (len(SIZES), MOST))
    logs = examples[:, None] + noise * (math.sqrt(0.8) * seeds + math.sqrt(0.2) * own)
    throughput = dict(zip(SIZES, (1e4 * rates).tolist(), strict=True))
    seconds = np.exp(examples) / rates

    def run(size: int, seed: int) -> Trial:
        hit = round(1e5 * math.exp(logs[SIZES.index(size), seed]))
        return finished_trial(size, seed, TARGET, curve=((hit - 1, 0.0), (hit, TARGET)), stage=CONFIRM)

    fixed = [run(size, seed) for size in SIZES for seed in range(FIXED)]
    errors = dict.fromkeys(SIZES, 0.0)
    judged = {"target": TARGET, "throughput": throughput, "throughput_errors": errors}
    found: list[float] = []
    for trials in (fixed, allocate(run, 1, least_seeds=FIRST, **judged)):
        spent = sum(float(seconds[SIZES.index(trial.batch_size)]) for trial in trials)
        found += [len(trials), spent / FIXED / float(seconds.sum()), excess(trials, throughput, seconds)]
    return found


def allocate(run: Run, first: int, **judged: Any) -> list[Trial]:
    """The trainings that a search would do which allocates its seeds, but for the first, which all sizes get."""
    trials = [run(size, seed) for size in SIZES for seed in range(first)]
    for seed in range(first, MOST):
        block = sizes_worth_another_seed(trials, objective=OBJECTIVE, **judged)
        if not block:
            break
        trials += [run(size, seed) for size in block]
    return trials


def excess(trials: Sequence[Trial], throughput: dict[int, float], seconds: np.ndarray) -> float:
    """How much longer the pick takes than the best, in percent."""
    found = recommend(
        trials,
        objective=OBJECTIVE,
        target=TARGET,
        throughput=throughput,
        throughput_errors=dict.fromkeys(SIZES, 0.0),
    )
    return 100 * (float(seconds[SIZES.index(found.batch_size)]) / float(seconds.min()) - 1)


if __name__ == "__main__":
    raise SystemExit(main())
