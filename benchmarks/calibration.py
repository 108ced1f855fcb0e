"""Are the chances that a recommendation states right? Synthetic studies whose truth is known.

    python benchmarks/calibration.py                # 500 studies of each kind, about 2 minutes
    python benchmarks/calibration.py --studies 50 --seeds 5

Each study has 6 batch sizes, 3 seeds and scores with unit noise plus a common effect of each seed; larger batch sizes
are cheaper. `recommend` picks by its default rule and states these things, which the truth then judges:

    loss      the chance that the best batch size beats the pick by more than the margin: how often it does
    best      with 90 % chance no batch size is called worse by mistake: how often the truly best one is not called so
    any       how often none that is as good as the truly best one is called worse
    interval  the 90 % interval of the difference of two given batch sizes: how often it covers the truth

"loss" is a chance about this study and must agree with the frequency within 5 points; "interval" must be 90 % within 5
points where all batch sizes are equally noisy; "best" and "any" are bounds and may exceed 90 %.

    ties           all batch sizes are equally good
    steep          the score falls linearly from a random best batch size, by |N(0, 2)| per doubling
    heavy noise    the same at a quarter of the slope, with each batch size off by N(0, 0.3)
    outliers       slope |N(0, 1)|, off by N(0, 0.3), and 5 % of the runs 6 standard deviations too bad
    a missing arm  slope and offsets alike; one batch size ran out of memory and another lost one seed
    plateau        equal up to a random batch size, then falling by |N(0, 2)| per doubling
    isolated       one random batch size is better by |N(0, 2)|, all others are equal
    unequal        as heavy noise, but the spread of the scores grows or falls from 1 to 5 over the batch sizes
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from tuning.objective import Objective
from tuning.stats.recommendation import recommend
from tuning.trial import Status, Trial, finished_trial

SIZES = (8, 16, 32, 64, 128, 256)
Array = npt.NDArray[np.float64]
Random = np.random.Generator


def falling(random: Random, slope: float, offset: float) -> Array:
    """True scores: linear on both sides of a random best size, each off by its own amount."""
    x = np.arange(len(SIZES))
    return -abs(random.normal(0, slope)) * np.abs(x - random.uniform(0, len(x) - 1)) + random.normal(0, offset, len(x))


def plateau(random: Random) -> Array:
    """True scores: equal up to a random size, then linear."""
    x = np.arange(len(SIZES))
    return -abs(random.normal(0, 2)) * np.maximum(0, x - random.integers(2, len(x)))


TRUTHS: dict[str, Callable[[Random], Array]] = {
    "ties": lambda random: random.normal() * np.ones(len(SIZES)),
    "steep": lambda random: falling(random, 2.0, 0.0),
    "heavy noise": lambda random: falling(random, 0.5, 0.3),
    "outliers": lambda random: falling(random, 1.0, 0.3),
    "a missing arm": lambda random: falling(random, 1.0, 0.3),
    "plateau": plateau,
    "isolated": lambda random: abs(random.normal(0, 2)) * np.eye(len(SIZES))[random.integers(len(SIZES))],
    "unequal": lambda random: falling(random, 0.5, 0.3),
}


@dataclass(frozen=True)
class Judged:
    """What one study stated and what was true."""

    stated: float
    lost: bool
    best_not_called_worse: bool
    none_called_worse_by_mistake: bool
    covered: bool


def study(kind: str, truth: Array, seeds: int, random: Random) -> list[Trial]:
    """The trials of one study."""
    spreads = np.geomspace(1, 5, len(SIZES))[:: random.choice([-1, 1])] if kind == "unequal" else np.ones(len(SIZES))
    noise = random.normal(0, 1, (len(SIZES), seeds)) * spreads[:, None]
    scores = truth[:, None] + noise + random.normal(0, 1, seeds)
    if kind == "outliers":
        scores = scores - 6 * (random.random(scores.shape) < 0.05)
    broken, short = random.choice(len(SIZES), 2, replace=False) if kind == "a missing arm" else (-1, -1)
    results = []
    for (i, seed), score in np.ndenumerate(scores):
        status = Status.OUT_OF_MEMORY if i == broken else Status.FAILED if (i, seed) == (short, 0) else Status.COMPLETED
        results.append(
            finished_trial(
                SIZES[i],
                seed,
                float(score) if status is Status.COMPLETED else None,
                status=status,
                examples_per_second=1000.0 * SIZES[i],
            )
        )
    return results


def judge(kind: str, seeds: int, random: Random) -> Judged:
    """Run one study, ask for a recommendation, and compare it with the truth."""
    truth = TRUTHS[kind](random)
    found = recommend(study(kind, truth, seeds, random), objective=Objective("score"))
    comparison, margin, stated = found.comparison, found.margin, found.chance_of_loss
    assert comparison is not None
    assert margin is not None
    assert stated is not None
    true = {size: float(score) for size, score in zip(SIZES, truth, strict=True) if size in comparison.batch_sizes}
    best = max(true, key=lambda size: true[size])
    low, high = comparison.batch_sizes[0], comparison.batch_sizes[-1]
    error = comparison.standard_error(low, high) or 0.0
    half = float(stats.t.isf(0.05, comparison.degrees_of_freedom)) * error
    measured = comparison.mean(low) - comparison.mean(high)
    return Judged(
        stated=stated,
        lost=true[best] - true[found.batch_size] > margin,
        best_not_called_worse=not comparison.is_worse(best),
        none_called_worse_by_mistake=not any(true[size] >= true[best] for size in comparison.worse),
        covered=abs(measured - (true[low] - true[high])) <= half,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=500, help="of each kind (default 500)")
    parser.add_argument("--seeds", type=int, default=3, help="of each batch size (default 3)")
    options = parser.parse_args(arguments)
    print(f"{options.studies} studies of each kind, {options.seeds} seeds; percent")
    print(
        f"{'kind':16s}{'loss stated':>13s}{'loss true':>11s}{'difference':>12s}{'best':>8s}{'any':>8s}{'interval':>10s}"
    )
    for number, kind in enumerate(TRUTHS):
        random = np.random.default_rng([options.seeds, number])
        found = [judge(kind, options.seeds, random) for _ in range(options.studies)]
        stated, lost = (100 * float(np.mean([getattr(j, name) for j in found])) for name in ("stated", "lost"))
        best = 100 * np.mean([j.best_not_called_worse for j in found])
        none = 100 * np.mean([j.none_called_worse_by_mistake for j in found])
        covered = 100 * np.mean([j.covered for j in found])
        told = f"{stated:13.1f}{lost:11.1f}{stated - lost:12.1f}{best:8.1f}{none:8.1f}{covered:10.1f}"
        print(f"{kind:16s}{told}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
