"""The order in which a trial sees its examples: the same stream of permutations for every batch size."""

from __future__ import annotations

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

    Raises:
        ValueError: If a number is out of its range.

    Source: Keras trains `ceil(N/B)` steps per epoch, the last on N mod B examples; the cut stream replaces it.

    >>> order = ExampleOrder(n_examples=10, batch_size=4, seed=0)
    >>> [len(order.rows(epoch)) for epoch in range(4)]
    [2, 3, 2, 3]
    """

    def __init__(self, n_examples: int, batch_size: int, seed: int) -> None:
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
        self._last: tuple[int, npt.NDArray[np.int32]] | None = None

    @property
    def least_updates(self) -> int:
        """Updates that every epoch has at least, `floor(N / B)`; some epochs have one more."""
        return self.n_examples // self.batch_size

    @property
    def most_updates(self) -> int:
        """Updates that no epoch exceeds, `ceil(N / B)`."""
        return -(-self.n_examples // self.batch_size)

    def updates_after(self, epochs: int) -> int:
        """Optimizer updates done after `epochs` whole epochs, `floor(epochs N / B)`."""
        return epochs * self.n_examples // self.batch_size

    def updates_in(self, epoch: int) -> int:
        """Optimizer updates of the epoch with this number, counted from 0."""
        return self.updates_after(epoch + 1) - self.updates_after(epoch)

    def rows(self, epoch: int) -> npt.NDArray[np.int32]:
        """Return the examples of one epoch's updates, `(updates, batch_size) int32`; epochs count from 0."""
        carried = epoch * self.n_examples % self.batch_size
        used = self.updates_in(epoch) * self.batch_size
        tail = self._permutation(epoch - 1)[self.n_examples - carried :] if carried else None
        current = self._permutation(epoch)
        stream = current if tail is None else np.concatenate([tail, current])
        return stream[:used].reshape(-1, self.batch_size)

    def _permutation(self, epoch: int) -> npt.NDArray[np.int32]:
        if self._last is None or self._last[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            self._last = (epoch, generator.permutation(self.n_examples).astype(np.int32))
        return self._last[1]
