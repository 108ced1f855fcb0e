"""Are the diagnoses of trainings right? Made batch sizes whose truth is known, three trainings each, with noise.

    python benchmarks/diagnoses.py                  # 300 batch sizes of each kind, half a minute
    python benchmarks/diagnoses.py --sizes 100

Training and validation losses have 2 % noise from epoch to epoch, scores a standard deviation of .01 unless told:

    settled      losses and score reached their ends in the first epochs
    wandering    the same, with a score that wanders: an autoregression of .7 between epochs
    improving    the score rises by one standard deviation per epoch, while the training loss falls
    slowly       the same at half a standard deviation per epoch
    stalled      the score stays from a third of the training on, while the training loss falls; noise .006
    overfitting  the same, and the validation loss rises by its noise of .02 per epoch from there on

For each it prints how many of 100 batch sizes, and of 100 single trainings, are called what; the others have no
diagnosis.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from tuning.stats.curves import Course, curve_facts
from tuning.stats.diagnoses import diagnose, diagnose_size

TRAININGS = 3
EPOCHS = (5, 8, 15, 30)
Array = npt.NDArray[np.float64]
Random = np.random.Generator


def falling(random: Random, epochs: int, rate: float, floor: float) -> Array:
    """A loss that falls exponentially to a floor, with 2 % noise."""
    smooth = floor + (2.3 - floor) * np.exp(-rate * np.arange(epochs))
    return smooth * (1 + 0.02 * random.normal(size=epochs))


def settled(random: Random, epochs: int) -> Course:
    score = 0.95 - 0.65 * np.exp(-3.0 * np.arange(epochs)) + 0.01 * random.normal(size=epochs)
    return course(falling(random, epochs, 2.0, 0.3), falling(random, epochs, 2.0, 0.4), score)


def wandering(random: Random, epochs: int) -> Course:
    score, at = [], 0.0
    for _ in range(epochs):
        at = 0.7 * at + 0.01 * random.normal()
        score.append(0.9 + at)
    return course(falling(random, epochs, 2.0, 0.3), [], score)


def improving(random: Random, epochs: int, slope: float = 0.01) -> Course:
    score = 0.5 + slope * np.arange(epochs) + 0.01 * random.normal(size=epochs)
    return course(falling(random, epochs, 0.1, 0.0), [], score)


def slowly(random: Random, epochs: int) -> Course:
    return improving(random, epochs, 0.005)


def stalled(random: Random, epochs: int) -> Course:
    at = np.minimum(np.arange(epochs), max(2, epochs // 3) - 1)
    score = 0.95 - 0.65 * np.exp(-at) + 0.006 * random.normal(size=epochs)
    return course(falling(random, epochs, 0.2, 0.0), falling(random, epochs, 2.0, 0.4), score)


def overfitting(random: Random, epochs: int) -> Course:
    rise = np.maximum(0, np.arange(1, epochs + 1) - epochs // 3)
    made = stalled(random, epochs)
    return course(made.loss, 0.4 + 0.02 * rise + 0.02 * random.normal(size=epochs), made.gains)


def course(loss: Iterable[float], val_loss: Iterable[float], gains: Iterable[float]) -> Course:
    """A course of plain numbers."""
    return Course(*(tuple(float(value) for value in part) for part in (loss, val_loss, gains)))


KINDS: tuple[Callable[[Random, int], Course], ...] = (settled, wandering, improving, slowly, stalled, overfitting)


def main() -> None:
    """Print a line for each kind and length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, default=300)
    sizes = parser.parse_args().sizes
    for kind in KINDS:
        for epochs in EPOCHS:
            of_sizes, of_one = named(kind, epochs, sizes)
            print(f"{kind.__name__:12s} {epochs:2d} epochs   sizes: {told(of_sizes, sizes):58s} single: ", end="")
            print(told(of_one, TRAININGS * sizes), flush=True)


def named(kind: Callable[[Random, int], Course], epochs: int, sizes: int) -> tuple[Counter[str], Counter[str]]:
    """How many batch sizes, and how many trainings, are called what."""
    random = np.random.default_rng(epochs)
    of_sizes: Counter[str] = Counter()
    of_one: Counter[str] = Counter()
    for _ in range(sizes):
        facts = [curve_facts(kind(random, epochs)) for _ in range(TRAININGS)]
        of_sizes.update(str(found.kind) for found in diagnose_size(facts, "score"))
        of_one.update(str(found.kind) for each in facts for found in diagnose(each, "score"))
    return of_sizes, of_one


def told(found: Counter[str], of: int) -> str:
    """Counts as percent, the most frequent first."""
    return ", ".join(f"{name} {100 * count / of:.0f}" for name, count in found.most_common()) or "nothing"


if __name__ == "__main__":
    main()
