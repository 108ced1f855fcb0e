"""How often does the interval of the critical batch size hold the truth? Made updates to a target, with noise.

    python benchmarks/critical_size.py               # 200 fits of each kind, minutes
    python benchmarks/critical_size.py --fits 50 --exponents 1.25

Updates follow `S_min*(1 + (256/B)^a)` at 5, 6 or 8 batch sizes, with noise in their logarithms; a need not be the law's
own exponent, 1. For each exponent, number of batch sizes and noise it prints the share of fits by which the critical
size is identified, and the share of these whose 90 % interval holds 256.
"""

from __future__ import annotations

import argparse

import numpy as np

from tuning.stats.scaling_law import fit_scaling_law

SIZES = (
    (16, 64, 256, 1024, 4096),
    (8, 32, 128, 512, 2048, 8192),
    (4, 16, 64, 256, 512, 1024, 2048, 4096),
)
NOISES = (0.03, 0.1, 0.15)
TRUTH = 256


def main() -> None:
    """Print a line for each exponent and number of batch sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fits", type=int, default=200)
    parser.add_argument("--exponents", default="0.8,0.85,0.9,1.0,1.15,1.25")
    options = parser.parse_args()
    print("exponent  sizes   " + "".join(f"noise {noise:.0%}: identified, held   " for noise in NOISES))
    for exponent in map(float, options.exponents.split(",")):
        for sizes in SIZES:
            cells = [held(exponent, sizes, noise, options.fits) for noise in NOISES]
            print(
                f"{exponent:8.2f} {len(sizes):6d}   " + "".join(f"{a:20.0%}, {b:4.0%}  " for a, b in cells), flush=True
            )


def held(exponent: float, sizes: tuple[int, ...], noise: float, fits: int) -> tuple[float, float]:
    """The share of fits that are identified, and of these the share whose interval holds the truth."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(fits):
        updates = 100 * (1 + (TRUTH / np.array(sizes)) ** exponent) * np.exp(random.normal(0, noise, len(sizes)))
        law = fit_scaling_law(dict(zip(sizes, updates.tolist(), strict=True)))
        low, high = law.interval
        if law.identified and low is not None and high is not None:
            found.append(low <= TRUTH <= high)
    return len(found) / fits, float(np.mean(found)) if found else float("nan")


if __name__ == "__main__":
    main()
