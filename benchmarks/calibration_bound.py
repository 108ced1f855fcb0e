"""How near to the truth can stated chances come in each kind of study? Against a model that knows how studies are made.

    python benchmarks/calibration_bound.py               # 200 studies of each kind with 2, 3 and 5 seeds, 12 minutes
    python benchmarks/calibration_bound.py --studies 50 --seeds 3

Studies, picks and losses are those of six kinds of `calibration.py`. Three models state the chance of a loss:

    kind known     the exact posterior for somebody who knows of each study of which kind it is: the truth, on average
    kinds known    the same for somebody who knows exactly how each kind is made, and the noise, and that each is as
                   frequent as the others, but not which one is before him: no model of these studies is better
    this project   `recommend`

The last two are printed less the first, in points: how far a chance is off on average over one kind. "at best" is what
is left of the greatest of these where the frequencies that "kinds known" believes in are chosen to make it least.
Posteriors are sums over 30,000 truths of each kind; those of outliers take the noise to be normal without them.
"""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt
import scipy
from calibration import SIZES, TRUTHS, study

from tuning.objective import Objective
from tuning.stats.recommendation import recommend

Array = npt.NDArray[np.float64]
KINDS = ("ties", "steep", "heavy noise", "outliers", "plateau", "isolated")
DRAWS = 30_000


def main() -> None:
    """Print a table for each number of seeds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--studies", type=int, default=200, help="of each kind (default 200)")
    parser.add_argument("--seeds", default="2,3,5")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    truths = {kind: centred(np.array([TRUTHS[kind](random) for _ in range(DRAWS)])) for kind in KINDS}
    for seeds in map(int, options.seeds.split(",")):
        print(f"{seeds} seeds; percent, and points off")
        print(f"{'kind':16s}{'kind known':>12s}{'kinds known':>13s}{'this project':>14s}")
        table = np.array([
            [one_study(kind, seeds, truths, np.random.default_rng([seeds, i, n])) for n in range(options.studies)]
            for i, kind in enumerate(KINDS)
        ])  # fmt: skip
        off = biases(table, np.zeros(len(KINDS)))
        for i, kind in enumerate(KINDS):
            known, ours = table[i, :, i].mean(), table[i, :, -1].mean()
            print(f"{kind:16s}{100 * known:12.1f}{off[i]:+13.1f}{100 * (ours - known):+14.1f}")
        print(f"at best {least_greatest(table):.1f}", flush=True)


def centred(values: Array) -> Array:
    """True means up to a common level."""
    return np.asarray(values - values.mean(axis=-1, keepdims=True))


def one_study(kind: str, seeds: int, truths: dict[str, Array], random: np.random.Generator) -> list[float]:
    """The chance of a loss given each kind, ln of the evidence for each, and the chance that is stated."""
    found = recommend(study(kind, TRUTHS[kind](random), seeds, random), objective=Objective("score"))
    assert found.comparison is not None
    assert found.margin is not None
    assert found.chance_of_loss is not None
    pick = SIZES.index(found.batch_size)
    means = centred(np.array(found.comparison.means))
    chances, evidence = [], []
    for each in truths.values():
        logs = -0.5 * seeds * ((each - means) ** 2).sum(axis=1)
        lost = each.max(axis=1) - each[:, pick] > found.margin
        evidence.append(float(scipy.special.logsumexp(logs)))
        chances.append(float(np.exp(logs - evidence[-1]) @ lost))
    return [*chances, *evidence, found.chance_of_loss]


def biases(table: Array, log_frequencies: Array) -> Array:
    """By how many points the chance of "kinds known" is off in each kind."""
    count = len(KINDS)
    logs = table[:, :, count : 2 * count] + log_frequencies
    weights = np.exp(logs - logs.max(axis=2, keepdims=True))
    stated = (weights / weights.sum(axis=2, keepdims=True) * table[:, :, :count]).sum(axis=2)
    known = np.diagonal(table[:, :, :count], axis1=0, axis2=2)
    return np.asarray(100 * (stated.mean(axis=1) - known.mean(axis=0)))


def least_greatest(table: Array) -> float:
    """The greatest bias of all kinds, the believed frequencies chosen to make it least."""

    def greatest(log_frequencies: Array) -> float:
        return float(np.abs(biases(table, log_frequencies)).max())

    starts = np.random.default_rng(0).normal(0, 0.5, (4, len(KINDS)))
    found = [scipy.optimize.minimize(greatest, x, method="Nelder-Mead", options={"maxiter": 400}) for x in starts]
    return float(min(each.fun for each in found))


if __name__ == "__main__":
    main()
