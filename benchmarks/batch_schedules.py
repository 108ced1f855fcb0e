"""Whether a batch size that grows along the training reaches a target sooner than the best constant one.

    python benchmarks/batch_schedules.py --task digits-adam         # about three minutes each
    python benchmarks/batch_schedules.py --task mnist-sgd

A perceptron with 64 hidden units in NumPy is trained to a validation loss, on scikit-learn's digits or on 5,000 images
of MNIST (`../shared/data/mnist_60k_3k.npz`), by Adam or SGD with momentum. Constant batch sizes are tried first, each
with eight learning rates √3 apart on three seeds. Seconds of an update are t0 + c*B for three ratios t0/c; a CPU or GPU
under Keras has ratios between 5 and 2,500.

At each ratio the batch sizes of up to 18 schedules double once to three times, from a quarter, half or all of the best
constant size, at shares of the examples that this one needs: the later ones as the noise of the gradient grows. The
learning rate stays, so that the larger batches anneal it (Smith et al. 2018), or is at each batch size the one that is
best where it stays constant; both times 1/√3, 1 and √3. The schedule with the least geometric mean of seconds on the
three seeds is told, and how many percent of the best constant size's seconds it saves there, and on five fresh seeds
(paired, with the standard error). The first is too good, as the best of 54.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rate_grid import Networks
from sklearn.datasets import load_digits

Array = npt.NDArray[np.float64]
Phase = tuple[float, int, float]
"""From how many examples on, the batch size, and the learning rate."""

MNIST = Path(__file__).parents[1].parent / "shared" / "data" / "mnist_60k_3k.npz"
SIZES = (8, 16, 32, 64, 128, 256, 512)
RATIOS = (30, 300, 2000)
RATES = [3 ** (i / 2) for i in range(-3, 5)]
NEAR = [3**-0.5, 1.0, 3**0.5]
SWITCHES = {1: (0.35,), 2: (0.2, 0.5), 3: (0.15, 0.35, 0.6)}
CHOOSING, JUDGING = range(3), range(3, 8)
CHECKS, LONGEST = 8, 25  # evaluations an epoch; epochs at the smallest size


@dataclass(frozen=True)
class Task:
    """What is trained: an optimizer's rate at 32 is the middle of those tried, and grows with B to the exponent."""

    optimizer: str
    rate: float
    exponent: float
    target: float
    inputs: int


TASKS = {
    "digits-adam": Task("adam", 6e-3, 0.5, 0.10, 64),
    "digits-sgd": Task("sgd", 0.05, 1.0, 0.10, 64),
    "mnist-adam": Task("adam", 3e-3, 0.5, 0.25, 784),
    "mnist-sgd": Task("sgd", 0.05, 0.7, 0.25, 784),
}


class Trainer:
    """Trains a task by schedules.

    Args:
        name: Of the task.
    """

    def __init__(self, name: str) -> None:
        self.task = TASKS[name]
        self._train, self._held_out = mnist() if "mnist" in name else digits()
        self.n_train = len(self._train[0])

    def seconds(self, phases: Sequence[Phase], seeds: Sequence[int], factors: Sequence[float], ratio: float) -> Array:
        """ln of the seconds to the target by seed and factor of the rates, in units of c; inf where it was missed."""
        costs = np.array([ratio + size for _, size, _ in phases])
        return np.array(
            [[np.log(updates @ costs) for updates in self._updates(phases, seed, factors)] for seed in seeds]
        )

    def _updates(self, phases: Sequence[Phase], seed: int, factors: Sequence[float]) -> list[Array]:
        """Updates in each phase up to the target, by factor."""
        (x, y), (x_held, y_held) = self._train, self._held_out
        networks = Networks(
            self.task.optimizer,
            np.array(factors) * phases[0][2],
            np.random.default_rng([seed, 1]),
            inputs=self.task.inputs,
        )
        random, rows = np.random.default_rng([seed, 2]), np.empty(0, dtype=int)
        longest = LONGEST * (1 + max(size for _, size, _ in phases) / 128) * self.n_train
        found: list[Array | None] = [None] * len(factors)
        done, seen, phase, checks = np.zeros(len(phases)), 0, 0, 0
        before, last = done.copy(), networks.losses(x_held, y_held)
        while seen < longest and any(each is None for each in found):
            while phase + 1 < len(phases) and seen >= phases[phase + 1][0]:
                phase += 1
                networks.set_rates(np.array(factors) * phases[phase][2])
            size = phases[phase][1]
            if len(rows) < size:
                rows = np.concatenate([rows, random.permutation(self.n_train)])
            networks.update(x[rows[:size]], y[rows[:size]])
            rows, seen = rows[size:], seen + size
            done[phase] += 1
            if seen * CHECKS // self.n_train > checks:
                checks = seen * CHECKS // self.n_train
                losses = networks.losses(x_held, y_held)
                for i in range(len(factors)):
                    if found[i] is None and losses[i] <= self.task.target:
                        share = math.log(last[i] / self.task.target) / math.log(last[i] / losses[i])
                        found[i] = before + min(1.0, max(0.0, share)) * (done - before)
                before, last = done.copy(), losses
        return [np.full(len(phases), math.inf) if each is None else each for each in found]


def digits() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.data))
    x, y = (data.data / 16)[order], np.eye(10)[data.target[order]]
    return (x[:1437], y[:1437]), (x[1437:], y[1437:])


def mnist() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    with np.load(MNIST) as data:
        x = data["x_train"][:6500].reshape(-1, 784) / 255
        y = np.eye(10)[data["y_train"][:6500]]
    return (x[:5000], y[:5000]), (x[5000:], y[5000:])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--task", choices=TASKS, default="digits-adam")
    name = parser.parse_args(arguments).task
    if "mnist" in name and not MNIST.exists():
        print(f"Skipped: needs {MNIST}.", file=sys.stderr)
        return 0
    trainer = Trainer(name)
    examples, rates = constants(trainer)
    print(f"{name}: constant sizes, epochs to the target at their best rates:")
    print("  " + ", ".join(f"{size}: {seen / trainer.n_train:.2f}" for size, seen in examples.items()), flush=True)
    for ratio in RATIOS:
        print(told(trainer, examples, rates, ratio), flush=True)
    return 0


def constants(trainer: Trainer) -> tuple[dict[int, float], dict[int, float]]:
    """Examples to the target, and the best rate, of each constant batch size."""
    examples, rates, task = {}, {}, trainer.task
    for size in SIZES:
        centre = task.rate * (size / 32) ** task.exponent
        logs = trainer.seconds([(0, size, centre)], CHOOSING, RATES, 0.0).mean(axis=0)  # no t0: c*B an update
        best = int(np.argmin(logs))
        examples[size], rates[size] = math.exp(logs[best]), centre * RATES[best]
    return examples, rates


def told(trainer: Trainer, examples: dict[int, float], rates: dict[int, float], ratio: float) -> str:
    """The line of a ratio: the best constant size, the best schedule, and what that saves."""
    best = min(SIZES, key=lambda size: examples[size] / size * (ratio + size))
    constant = [(0.0, best, rates[best])]
    usual = trainer.seconds(constant, CHOOSING, [1.0], ratio)[:, 0]
    found = []
    for phases in schedules(best, examples[best], rates):
        logs = trainer.seconds(phases, CHOOSING, NEAR, ratio).mean(axis=0)
        found.append((float(logs.min()), NEAR[int(np.argmin(logs))], phases))
    chosen, factor, phases = min(found, key=lambda each: each[0])
    judged = (
        trainer.seconds(phases, JUDGING, [factor], ratio)[:, 0] - trainer.seconds(constant, JUDGING, [1.0], ratio)[:, 0]
    )
    course = " -> ".join(str(size) for _, size, _ in phases)
    saved, fresh = (-100 * math.expm1(value) for value in (chosen - float(usual.mean()), float(judged.mean())))
    error = 100 * float(judged.std(ddof=1)) / math.sqrt(len(judged))
    return f"  t0/c {ratio}: constant {best}; {course} saves {saved:.0f} %, on fresh seeds {fresh:.0f} ± {error:.0f} %"


def schedules(best: int, examples: float, rates: dict[int, float]) -> list[list[Phase]]:
    """Those whose sizes are among the constant ones."""
    found = []
    for back, doublings, stays in itertools.product((0, 1, 2), SWITCHES, (True, False)):
        sizes = [(best >> back) << i for i in range(doublings + 1)]
        if sizes[0] in rates and sizes[-1] in rates:
            starts = [0.0, *(share * examples for share in SWITCHES[doublings])]
            of_size = [rates[sizes[0] if stays else size] for size in sizes]
            found.append(list(zip(starts, sizes, of_size, strict=True)))
    return found


if __name__ == "__main__":
    raise SystemExit(main())
