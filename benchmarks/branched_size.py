"""How often does the interval of `probe --branch` hold the critical batch size? Made branches whose law is known.

    python benchmarks/branched_size.py               # 60 probes of each kind, half a minute

The loss of a branch falls as a power of the examples that a batch of 32 would need for the same, by the law of the
critical batch size; every evaluation has noise in its logarithm. There are four repeats at 32, 64, 128, 256 and 512, as
in `probe --branch`. Printed is the share of 90 % intervals that hold the truth, and their median width as a ratio.
"""

from __future__ import annotations

import argparse
import itertools
import math

import numpy as np

from tuning.stats.branching import BranchedSize, Curve, branched_size

SIZES, REPEATS, EXAMPLES = (32, 64, 128, 256, 512), 4, 4096
FRACTIONS = (0.125, 0.25, 0.5, 0.75, 1.0)
TRUTHS, POWERS, NOISES = (50.0, 200.0, 1000.0), (1.0, 0.3), (0.003, 0.01, 0.03)


def main() -> None:
    """Print a line for each kind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--probes", type=int, default=60, help="of each kind (default 60)")
    options = parser.parse_args()
    print("B_crit   power   noise   interval holds it   high/low")
    for truth, power, noise in itertools.product(TRUTHS, POWERS, NOISES):
        found = [probe(truth, power, noise, np.random.default_rng(seed)) for seed in range(options.probes)]
        ends = [(each.low, each.high) for each in found if each.low is not None and each.high is not None]
        held = float(np.mean([low <= truth <= high for low, high in ends]))
        width = math.exp(float(np.median([math.log(high / low) for low, high in ends])))
        print(f"{truth:6.0f}{power:8.1f}{noise:8.1%}{held:20.0%}{width:11.2f}", flush=True)


def probe(truth: float, power: float, noise: float, random: np.random.Generator) -> BranchedSize:
    """What is told of branches of this kind."""
    places = [int(fraction * EXAMPLES) for fraction in FRACTIONS]
    curves: dict[int, list[Curve]] = {}
    for size in SIZES:
        slower = (1 + size / truth) / (1 + SIZES[0] / truth)
        losses = (1 + np.array(places) / EXAMPLES / slower) ** -power
        errors = np.exp(noise * random.normal(size=(REPEATS, len(places))))
        curves[size] = [(places, row.tolist()) for row in losses * errors]
    return branched_size(1.0, curves)


if __name__ == "__main__":
    main()
