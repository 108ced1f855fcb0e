"""What does a pick lose where trainings missed the target? Made studies of late and of stuck trainings.

    python benchmarks/missed_targets.py                  # 300 studies of each kind with 2, 3 and 5 seeds, minutes
    python benchmarks/missed_targets.py --studies 50 --seeds 3
    python benchmarks/missed_targets.py --seeds 3 --doubt 1    # whatever share of trainings may be stuck

Each study has 6 batch sizes whose times to a target follow the law of updates, as in `calibration.py`; one training's
ln(examples) has a noise of 0.1 or 0.3, half of its variance common to the sizes of a seed. Only studies in which some
training missed the target, and some batch size reached it, count.

    late 10 %, late 30 %   all sizes have the same budget of examples, which is near what the truly best size needs
    stuck                  a tenth of the trainings of any size never reach the target; budgets are twice what is needed
    stuck when large       the larger the size the more do so, none of the smallest and 6 of 10 of the largest
    stuck when best        7 of 10 trainings of the size that would otherwise be the fastest do so

The true cost of a size is that of one training, p/(1 - p) budgets for those stuck before it included; a late one is
let train on. "again" starts late ones again, too. Excess is the mean of ln(cost of the pick/least cost), at most ln 10,
in percent with its standard error. "all must" picks among the sizes that reached the target on all seeds, or by the
final scores if none did. "hopeless" is how often a size is picked of which more than half of all trainings get stuck.
Stated are the chance that another size is more than 10 % cheaper, and the expected loss; true are both against the
sizes of which at least half of the seeds reached the target, where times decided.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tuning.objective import Objective
from tuning.stats import misses
from tuning.stats.recommendation import Recommendation, recommend
from tuning.trial import CONFIRM, Trial, finished_trial

SIZES = (8, 16, 32, 64, 128, 256)
KINDS = ("late 10 %", "late 30 %", "stuck", "stuck when large", "stuck when best")
OBJECTIVE, TARGET = Objective("val_accuracy"), 0.9
MOST = math.log(10)
Array = npt.NDArray[np.float64]
Random = np.random.Generator


@dataclass(frozen=True)
class Truth:
    """What is true of the batch sizes: (6,) float64 each.

    Args:
        examples: ln(examples to the target).
        rates: ln(examples per second).
        budgets: ln(examples) after which a training ends.
        stuck: The chance that a training never reaches the target.
        noise: The standard deviation of one training's ln(examples).
    """

    examples: Array
    rates: Array
    budgets: Array
    stuck: Array
    noise: float

    def losses(self, *, again: bool) -> dict[int, float]:
        """ln(cost/least cost) by batch size; late trainings are let train on, or started again."""
        late = self.noise * np.random.default_rng(0).standard_normal(4000)[:, None] + self.examples > self.budgets
        misses = self.stuck + (1 - self.stuck) * late.mean(axis=0) if again else self.stuck
        with np.errstate(divide="ignore", over="ignore"):
            costs = np.logaddexp(self.examples, np.log(misses / (1 - misses)) + self.budgets) - self.rates
        return dict(zip(SIZES, np.minimum(costs - costs.min(), MOST).tolist(), strict=True))


def truth_of(kind: str, random: Random) -> Truth:
    """A truth of one kind."""
    sizes = np.array(SIZES, dtype=float)
    examples = np.log1p((sizes / np.exp(random.uniform(2, 6))) ** random.normal(1, 0.1)) + random.normal(0, 0.05, 6)
    rates = np.log(sizes / (sizes + np.exp(random.uniform(2, 6)))) + random.normal(0, 0.05, 6)
    examples = examples + math.log(1e5)
    best, places = int(np.argmax(rates - examples)), np.arange(len(SIZES))
    noise = 0.3 if kind == "late 30 %" else 0.1
    if kind.startswith("late"):
        budgets = np.full(len(SIZES), examples[best] + noise * random.uniform(-0.5, 2))
        return Truth(examples, rates, budgets, np.zeros(len(SIZES)), noise)
    shares = {
        "stuck": np.full(len(SIZES), 0.1),
        "stuck when large": 0.6 * (places / places[-1]) ** 2,
        "stuck when best": np.where(places == best, 0.7, 0.0),
    }
    return Truth(examples, rates, examples + math.log(2), shares[kind], noise)


def study(truth: Truth, seeds: int, random: Random) -> list[Trial]:
    """The trainings on fresh seeds."""
    common, own = random.normal(0, 1, seeds), random.normal(0, 1, (len(SIZES), seeds))
    logs = truth.examples[:, None] + truth.noise * math.sqrt(0.5) * (common + own)
    stuck = random.random(logs.shape) < truth.stuck[:, None]
    found = []
    for (i, seed), log in np.ndenumerate(logs):
        reached = log <= truth.budgets[i] and not stuck[i, seed]
        last = round(math.exp(log if reached else truth.budgets[i]))
        curve = ((last - 1, 0.0), (last, TARGET)) if reached else ((last, 0.5),)
        found.append(finished_trial(SIZES[i], seed, curve[-1][1], stage=CONFIRM, curve=curve))
    return found


def judge(kind: str, seeds: int, random: Random) -> list[float]:
    """The columns of one study that counts."""
    while True:
        truth = truth_of(kind, random)
        trials = study(truth, seeds, random)
        hits = {size: [t.score == TARGET for t in trials if t.batch_size == size] for size in SIZES}
        shares = [sum(each) / seeds for each in hits.values()]
        if max(shares) >= 0.5 and min(shares) < 1:
            break
    known = {
        "objective": OBJECTIVE,
        "throughput": dict(zip(SIZES, (1e4 * np.exp(truth.rates)).tolist(), strict=True)),
        "throughput_errors": dict.fromkeys(SIZES, 0.0),
    }
    found = recommend(trials, target=TARGET, **known)
    sure = [t for t in trials if all(hits[t.batch_size])]
    before = recommend(sure, target=TARGET, **known) if sure else recommend(trials, **known)
    on, again = truth.losses(again=False), truth.losses(again=True)
    least = min(on[size] for size, share in zip(SIZES, shares, strict=True) if share >= 0.5)
    stuck = dict(zip(SIZES, truth.stuck > 0.5, strict=True))
    return [
        value
        for each in (before, found)
        for value in (
            on[each.batch_size],
            again[each.batch_size],
            float(stuck[each.batch_size]),
            *stated(each, on[each.batch_size] - least),
        )
    ]


def stated(found: Recommendation, lost: float) -> tuple[float, float, float, float]:
    """The chance of a loss and the expected loss, each as stated and in truth; not numbers where scores decided."""
    chance, expected = found.chance_of_loss, found.expected_loss
    if found.cost is None or "to the target" not in found.cost or chance is None or expected is None:
        return math.nan, math.nan, math.nan, math.nan
    return chance, float(lost > math.log(1.1)), expected, lost


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=300, help="of each kind (default 300)")
    parser.add_argument("--seeds", default="2,3,5")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--doubt", type=float, default=misses.DOUBT, help="above which a size is left out")
    options = parser.parse_args(arguments)
    misses.DOUBT = options.doubt
    for seeds in map(int, options.seeds.split(",")):
        print(f"{options.studies} studies of each kind, {seeds} seeds; percent")
        heads = ("excess", "± se", "again", "hopeless", "loss stated", "true", "mean stated", "true")
        print(f"{'kind and rule':32s}" + "".join(f"{head:>13s}" for head in heads))
        for kind in options.kinds.split(","):
            random = np.random.default_rng([seeds, KINDS.index(kind)])
            table = 100 * np.array([judge(kind, seeds, random) for _ in range(options.studies)])
            means, half = np.nanmean(table, axis=0), len(table[0]) // 2
            errors = table.std(axis=0, ddof=1) / math.sqrt(len(table))
            for rule, i in (("all must", 0), ("this project", half)):
                row = (means[i], errors[i], *means[i + 1 : i + half])
                print(f"{kind + ', ' + rule:32s}" + "".join(f"{value:13.1f}" for value in row), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
