"""The critical batch size, measured by branching from the middle of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuning.messages import Measurement
from tuning.noise_messages import Branches, BranchRequest
from tuning.run.asking import ask_again
from tuning.run.executor import Executor
from tuning.stats.branching import LEAST_SIZES, BranchedSize, branched_size
from tuning.stats.reasons import number
from tuning.trial import TrialOutcome

REPEATS = 4
MOST_SIZES = 6
_LEAST_UPDATES = 8  # of a branch; fewer do not show what a batch size does


@dataclass(frozen=True)
class Branching:
    """What branches have shown.

    Args:
        found: The critical batch size there, or why it is not told.
        at_examples: Where they began; 0 where none were trained.
        losses: The mean validation loss at the end of the branches of each batch size.
    """

    found: BranchedSize
    at_examples: int = 0
    losses: tuple[tuple[int, float], ...] = ()

    @property
    def headline(self) -> str:
        """A sentence for people."""
        found = self.found
        if found.value is None:
            return f"Critical batch size by branching: not told, because {found.reason}."
        told = f"Critical batch size by branching after {self.at_examples:,} examples: about {number(found.value)}"
        if found.low is None or found.high is None:
            return f"{told}."
        return f"{told} (90 % interval {number(found.low)} to {number(found.high)})."

    @property
    def measurement(self) -> Measurement:
        """What the record shows of it."""
        told = {"critical_batch_size": self.found.value, "low": self.found.low, "high": self.found.high}
        values = {f"branched_{name}": value for name, value in told.items() if value is not None}
        series = tuple(("branch_loss", loss, size) for size, loss in self.losses)
        return Measurement("branches", values=values, series=series, reason=self.found.reason)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; null where something is unknown."""
        return {
            "critical_batch_size": self.found.value,
            "low": self.found.low,
            "high": self.found.high,
            "at_examples": self.at_examples,
            "losses": [{"batch_size": size, "loss": loss} for size, loss in self.losses],
            "reason": self.found.reason,
        }


def sizes_to_branch(smallest: int, largest: int, examples: int) -> tuple[int, ...]:
    """Return at most six batch sizes from the smallest up, each twice or four times the one before.

    They go up to the largest, and leave at least eight updates in a branch.

    >>> sizes_to_branch(32, 4096, 20_000)
    (32, 64, 128, 256, 512, 1024)
    >>> sizes_to_branch(32, 4096, 100_000)
    (32, 128, 512, 2048)
    """
    sizes = [smallest]
    while sizes[-1] * 2 <= min(largest, examples // _LEAST_UPDATES):
        sizes.append(sizes[-1] * 2)
    return tuple(sizes if len(sizes) <= MOST_SIZES else sizes[::2])


def probe_branching(
    executor: Executor, *, rates: Mapping[int, float], examples: int, evaluation_batch_size: int = 256
) -> Branching:
    """Train to the middle of a training, and on from there at several batch sizes, four times each.

    Args:
        executor: Its first device trains; it must be idle.
        rates: The learning rate of each batch size; the smallest size trains up to the branching, too.
        examples: Of the training up to the branching, and of each branch.
        evaluation_batch_size: Examples per validation step.
    """
    sizes = sorted(rates)
    if len(sizes) < LEAST_SIZES:
        reason = f"{examples:,} examples allow for no more than {len(sizes)} batch sizes from {sizes[0]} on"
        return Branching(BranchedSize(reason=reason))
    request = BranchRequest(
        "branches",
        tuple(sizes),
        tuple(rates[size] for size in sizes),
        updates=max(1, examples // sizes[0]),
        examples=examples,
        repeats=REPEATS,
        evaluation_batch_size=evaluation_batch_size,
    )
    answer = ask_again(executor, request)
    if isinstance(answer, TrialOutcome):
        return Branching(BranchedSize(reason=answer.reason.rstrip(".")))
    assert isinstance(answer, Branches)
    return read_branches(answer, sizes)


def read_branches(branches: Branches, sizes: Sequence[int]) -> Branching:
    """Return what branches have shown."""
    curves = {size: [(b.examples, b.losses) for b in branches.branches if b.batch_size == size] for size in sizes}
    losses = tuple((size, sum(each[1][-1] for each in some) / len(some)) for size, some in curves.items())
    return Branching(branched_size(branches.start, curves), branches.at_examples, losses)
