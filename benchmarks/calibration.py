"""Are the chances that a recommendation states right? Synthetic studies whose truth is known.

    python benchmarks/calibration.py                # 500 studies of each kind, about 10 minutes
    python benchmarks/calibration.py --studies 50 --seeds 2,3,5 --kinds ties,plateau

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
    equal, 1 to 5  as ties, with these spreads

Times to a target have 4 more kinds. ln E follows the law of updates with an exponent of N(1, 0.1) and deviations of
N(0, 0.05), seconds per update a line with deviations of N(0, 0.05), and one training's noise is 0.1:

    exact times    both learning rate and clock are right
    clock          seconds per update are off by 10 %, which the study knows
    rates          three rates, 3 times apart, were each tried with one seed, up to twice the examples of the best; ln E
                   rises by q/2 times the square of ln(rate/best), q around 2, the best anywhere within half a step
    both           clock and rates

Of these "loss" is the chance that another batch size at its own best rate is more than 10 % faster, and "mean" the
expected loss of the pick in percent of time, stated and true.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from tuning.objective import Objective
from tuning.stats.recommendation import Recommendation, recommend
from tuning.trial import CONFIRM, SEARCH, Status, Trial, finished_trial

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
    "equal, 1 to 5": lambda random: np.zeros(len(SIZES)),
}
TIMES = {"exact times": (0.0, False), "clock": (0.1, False), "rates": (0.0, True), "both": (0.1, True)}
UNEQUAL = ("unequal", "equal, 1 to 5")
TARGET, STEP, RUN_NOISE = 0.9, 3.0, 0.1


@dataclass(frozen=True)
class Judged:
    """What one study stated and what was true."""

    stated: float
    lost: bool
    best_not_called_worse: bool
    none_called_worse_by_mistake: bool
    covered: bool
    mean_stated: float
    mean: float


def study(kind: str, truth: Array, seeds: int, random: Random) -> list[Trial]:
    """The trials of one study."""
    spreads = np.geomspace(1, 5, len(SIZES))[:: random.choice([-1, 1])] if kind in UNEQUAL else np.ones(len(SIZES))
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
    if kind in TIMES:
        return judge_times(*TIMES[kind], seeds, random)
    truth = TRUTHS[kind](random)
    found = recommend(study(kind, truth, seeds, random), objective=Objective("score"))
    assert found.comparison is not None
    sizes = found.comparison.batch_sizes
    return judged(found, {size: float(score) for size, score in zip(SIZES, truth, strict=True) if size in sizes})


def judge_times(clock: float, rates: bool, seeds: int, random: Random) -> Judged:
    """Run one study of times to a target; the truth is -ln of the seconds at each batch size's best learning rate."""
    sizes = np.array(SIZES, dtype=float)
    examples = np.log1p((sizes / np.exp(random.uniform(2, 6))) ** random.normal(1, 0.1)) + random.normal(0, 0.05, 6)
    rate = np.log(sizes / (sizes + np.exp(random.uniform(2, 6)))) + random.normal(0, 0.05, 6)
    measured = np.exp(rate + random.normal(0, clock, 6))
    trials: list[Trial] = []
    for i, size in enumerate(SIZES):
        trials += timed_trials(size, examples[i] + math.log(1e5), rates, seeds, random)
    found = recommend(
        trials,
        objective=Objective("val_accuracy"),
        target=TARGET,
        throughput={size: float(1e4 * each) for size, each in zip(SIZES, measured, strict=True)},
        throughput_errors=dict.fromkeys(SIZES, clock),
    )
    return judged(found, {size: float(y) for size, y in zip(SIZES, rate - examples, strict=True)})


def timed_trials(size: int, log_examples: float, rates: bool, seeds: int, random: Random) -> list[Trial]:
    """The trainings of one batch size: those that seek the rate, then those on fresh seeds at the best one found."""
    best, curvature = random.uniform(-0.5, 0.5) * math.log(STEP), 2 * math.exp(random.normal(0, 0.3))
    tried = {STEP**power: curvature * (power * math.log(STEP) - best) ** 2 / 2 for power in (-1, 0, 1)}
    if not rates:
        tried = {1.0: 0.0}
    reached = {rate: log_examples + rise + random.normal(0, RUN_NOISE) for rate, rise in tried.items()}
    taken = min(reached, key=lambda rate: reached[rate])
    cap = min(reached.values()) + math.log(2)
    found = [timed_trial(size, 0, reached[rate], rate, SEARCH, cap) for rate in tried]
    fresh = (log_examples + tried[taken] + random.normal(0, RUN_NOISE) for _ in range(seeds))
    return found + [timed_trial(size, 1 + i, y, taken, CONFIRM, math.inf) for i, y in enumerate(fresh)]


def timed_trial(size: int, seed: int, log_examples: float, rate: float, stage: str, cap: float) -> Trial:
    """A training that reaches the target when it does, or has seen its last example before."""
    hits = log_examples <= cap
    last = round(math.exp(min(log_examples, cap)))
    curve = ((last - 1, 0.0), (last, TARGET if hits else 0.5))
    return finished_trial(size, seed, curve[-1][1], learning_rate=rate, stage=stage, curve=curve)


def judged(found: Recommendation, true: Mapping[int, float]) -> Judged:
    """Compare a recommendation with the true means of what was compared."""
    comparison, margin, stated, mean = found.comparison, found.margin, found.chance_of_loss, found.expected_loss
    assert comparison is not None
    assert margin is not None
    assert stated is not None
    assert mean is not None
    best = max(true, key=lambda size: true[size])
    low, high = comparison.batch_sizes[0], comparison.batch_sizes[-1]
    error = comparison.standard_error(low, high) or 0.0
    half = float(stats.t.isf(0.05, comparison.degrees_of_freedom)) * error
    measured = comparison.mean(low) - comparison.mean(high)
    loss = true[best] - true[found.batch_size]
    return Judged(
        stated=stated,
        lost=loss > margin,
        best_not_called_worse=not comparison.is_worse(best),
        none_called_worse_by_mistake=not any(true[size] >= true[best] for size in comparison.worse),
        covered=abs(measured - (true[low] - true[high])) <= half,
        mean_stated=mean,
        mean=loss,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=500, help="of each kind (default 500)")
    parser.add_argument("--seeds", default="3", help="of each batch size, several with commas (default 3)")
    parser.add_argument("--kinds", default=",".join([*(each.replace(",", "") for each in TRUTHS), *TIMES]))
    options = parser.parse_args(arguments)
    kinds = [kind for kind in (*TRUTHS, *TIMES) if kind.replace(",", "") in options.kinds.split(",")]
    for seeds in map(int, options.seeds.split(",")):
        print(f"{options.studies} studies of each kind, {seeds} seeds; percent")
        heads = ("loss stated", "loss true", "difference", "best", "any", "interval", "mean stated", "mean true")
        print(f"{'kind':16s}" + "".join(f"{head:>13s}" for head in heads))
        for kind in kinds:
            random = np.random.default_rng([seeds, [*TRUTHS, *TIMES].index(kind)])
            found = [judge(kind, seeds, random) for _ in range(options.studies)]
            print(f"{kind:16s}" + "".join(f"{value:13.1f}" for value in shares(found, kind)), flush=True)
    return 0


def shares(found: Sequence[Judged], kind: str) -> list[float]:
    """The columns of a line, in percent."""
    names = ("stated", "lost", "best_not_called_worse", "none_called_worse_by_mistake", "covered")
    names += ("mean_stated", "mean") if kind in TIMES else ()
    stated, lost, *rest = (100 * float(np.mean([getattr(each, name) for each in found])) for name in names)
    return [stated, lost, stated - lost, *rest]


if __name__ == "__main__":
    raise SystemExit(main())
