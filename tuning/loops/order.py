"""ExampleOrder: which examples every update of a training sees, and what they draw what is random from."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class ExampleOrder:
    """A stream of per-epoch permutations, chopped into full batches.

    Each epoch is one permutation of all N examples, drawn without replacement from the seed and the epoch's number
    alone, so every batch size sees the same stream. The stream is cut into batches of exactly B examples. What an
    epoch leaves over opens the next one: nothing is dropped for good, and no ragged batch is given a whole learning
    rate. After e epochs `floor(e N / B)` updates are done, so the updates per epoch differ by at most one.

    Args:
        n_examples: N, the size of the training set, at least 1.
        batch_size: B, from 1 (stochastic) to N (the full set, one update per epoch).
        seed: Fixes every permutation; at least 0.
        shuffled: Whether every epoch has a permutation of its own; otherwise all have the order of the data.
        epochs_before: Whole epochs that have been trained; this is the order of those after them, which count from 0.

    Raises:
        ValueError: If a number is out of its range.

    Source: Keras trains `ceil(N/B)` steps per epoch, the last on N mod B examples; the cut stream replaces it.

    >>> order = ExampleOrder(n_examples=10, batch_size=4, seed=0)
    >>> [len(order.rows(epoch)) for epoch in range(4)]
    [2, 3, 2, 3]
    """

    def __init__(
        self, n_examples: int, batch_size: int, seed: int, *, shuffled: bool = True, epochs_before: int = 0
    ) -> None:
        if not 1 <= batch_size <= n_examples:
            raise ValueError(
                f"batch_size must lie between 1 and the {n_examples} training examples; got {batch_size}. "
                "Lower it, or add data."
            )
        if seed < 0:
            raise ValueError(f"seed must be at least 0; got {seed}.")
        self.n_examples = n_examples
        self.batch_size = batch_size
        self.seed = seed
        self._shuffled = shuffled
        self._first = epochs_before
        self._last: tuple[int, npt.NDArray[np.int32]] | None = None

    @property
    def least_updates(self) -> int:
        """Updates that every epoch has at least, `floor(N / B)`; some epochs have one more."""
        return self.n_examples // self.batch_size

    @property
    def most_updates(self) -> int:
        """Updates that no epoch exceeds, `ceil(N / B)`."""
        return -(-self.n_examples // self.batch_size)

    @property
    def updates_before(self) -> int:
        """Optimizer updates of the epochs before this order begins."""
        return self._updates_by(0)

    def updates_after(self, epochs: int) -> int:
        """Optimizer updates done after `epochs` whole epochs, `floor(epochs N / B)`."""
        return self._updates_by(epochs) - self.updates_before

    def updates_in(self, epoch: int) -> int:
        """Optimizer updates of the epoch with this number, counted from 0."""
        return self._updates_by(epoch + 1) - self._updates_by(epoch)

    def rows(self, epoch: int) -> npt.NDArray[np.int32]:
        """Return the examples of one epoch's updates, `(updates, batch_size) int32`; epochs count from 0."""
        carried = self._carried(epoch)
        used = self.updates_in(epoch) * self.batch_size
        tail = self._permutation(epoch - 1)[self.n_examples - carried :] if carried else None
        current = self._permutation(epoch)
        stream = current if tail is None else np.concatenate([tail, current])
        return stream[:used].reshape(-1, self.batch_size)

    def seeds(self, epoch: int) -> npt.NDArray[np.int32]:
        """Return what the examples of one epoch's updates draw from, `(updates, batch_size, 2) int32`.

        The last column is `rows(epoch)`. An example that is left over from the epoch before keeps that epoch's seed, so
        that the stream of rows and seeds is the same one at every batch size.
        """
        rows = self.rows(epoch)
        found = example_seeds(self.seed, self._first + epoch, rows)
        if carried := self._carried(epoch):
            found[0, :carried] = example_seeds(self.seed, self._first + epoch - 1, rows[0, :carried])
        return found

    def _updates_by(self, epoch: int) -> int:
        """Return the updates of all epochs before one, also of those before this order begins."""
        return (self._first + epoch) * self.n_examples // self.batch_size

    def _carried(self, epoch: int) -> int:
        """Return how many examples the epochs before one have left over."""
        return (self._first + epoch) * self.n_examples % self.batch_size

    def _permutation(self, epoch: int) -> npt.NDArray[np.int32]:
        if not self._shuffled:
            return np.arange(self.n_examples, dtype=np.int32)
        if self._last is None or self._last[0] != epoch:
            generator = np.random.default_rng([self.seed, self._first + epoch])
            self._last = (epoch, generator.permutation(self.n_examples).astype(np.int32))
        return self._last[1]


def example_seeds(seed: int, epoch: int, rows: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Return what the examples of an epoch draw what is random from, `(..., 2) int32`, not negative.

    The first number follows from the trial's seed and the epoch, the second is the row: neither from the batch size.

    Args:
        seed: The trial's.
        epoch: Counted from 0.
        rows: Rows of the data, of any shape.
    """
    word = np.random.SeedSequence([seed, epoch]).generate_state(1)[0] >> 1
    return np.stack([np.full(rows.shape, word, np.int32), rows.astype(np.int32)], axis=-1)
