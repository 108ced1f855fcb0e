"""BatchSize: the batch sizes that a study may try."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

FULL = "full"
"""The whole training set as one batch: plain gradient descent."""

_DEFAULT_LOW = 8
_DEFAULT_HIGH = 1024
_UPDATES_PER_EPOCH = 8  # fewer updates than this per epoch is closer to gradient descent than to mini-batches


@dataclass(frozen=True)
class BatchSize:
    """Powers of `factor` between two bounds; see `BatchSize.of` for an explicit list.

    A batch size is the number of examples per optimizer update: 1 is stochastic gradient descent, `FULL` (the
    whole training set) is gradient descent.

    Args:
        low: Smallest size, at least 1; None for 8, or 1 where the data are that few.
        high: Largest size, `FULL`, or None for what the data suggest: at least 8 updates per epoch, at most 1024.
        factor: Ratio of neighbouring sizes, at least 2. The sizes are `low * factor**i` up to `high`.

    Raises:
        ValueError: If a bound is not a whole number of at least 1, or the bounds are in the wrong order.

    Examples:
        >>> BatchSize(4, 64).values()
        (4, 8, 16, 32, 64)
        >>> BatchSize.of(1, 32, FULL).within(1000).values()
        (1, 32, 1000)
    """

    low: int | None = None
    high: int | str | None = None
    factor: int = 2
    sizes: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        if self.low is not None:
            _check_size("low", self.low)
        if self.high is not None and self.high != FULL:
            high = _check_size("high", self.high)
            if self.low is not None and self.low > high:
                raise ValueError(f"low must not exceed high; got low={self.low}, high={high}. Swap them or widen.")
        if not isinstance(self.factor, int) or self.factor < 2:
            raise ValueError(f"factor must be a whole number of at least 2; got {self.factor!r}.")
        if not isinstance(self.sizes, tuple):
            raise ValueError(f"sizes must be a tuple; got {self.sizes!r}. Write BatchSize.of(8, 32, 128).")
        for size in self.sizes:
            if size != FULL:
                _check_size("batch size", size)

    @classmethod
    def of(cls, *sizes: int | str) -> BatchSize:
        """An explicit list of sizes, in any order; `FULL` stands for the whole training set.

        Raises:
            ValueError: If the list is empty or a size is neither `FULL` nor a whole number of at least 1.
        """
        if not sizes:
            raise ValueError("A list of batch sizes needs at least one; got none. Give some, such as 8, 32, 128.")
        checked = [size if size == FULL else _check_size("batch size", size) for size in sizes]
        return cls(sizes=tuple(dict.fromkeys(checked)))

    @property
    def is_open(self) -> bool:
        """Whether the sizes depend on the number of training examples."""
        return FULL in self.sizes if self.sizes else self.low is None or self.high in (None, FULL)

    def within(self, n_train: int) -> BatchSize:
        """The same sizes for a training set of `n_train` examples: bounds filled in, `FULL` replaced by `n_train`.

        Raises:
            ValueError: If a size that was asked for exceeds the training set.
        """
        if self.sizes:
            return BatchSize.of(*sorted({_at_most(n_train, size) for size in self.sizes}))
        high = self._highest(n_train)
        low = min(_DEFAULT_LOW, high) if self.low is None else _at_most(n_train, self.low)
        if self.high == FULL:
            return BatchSize.of(*_powers(low, n_train, self.factor), n_train)
        return BatchSize(low, high, self.factor)

    def suiting(self, n_train: int) -> BatchSize:
        """The same bounds, lowered where fewer than 8 updates per epoch would be left; a list stays as it is.

        Examples:
            >>> BatchSize(16, 1024, factor=4).suiting(1000).values()
            (16, 64)
        """
        if not isinstance(self.high, int):
            return self
        high = max(1, min(self.high, n_train // _UPDATES_PER_EPOCH))
        return replace(self, low=None if self.low is None else min(self.low, high), high=high)

    def _highest(self, n_train: int) -> int:
        if self.high is not None:
            return _at_most(n_train, self.high)
        return max(self.low or 1, min(_DEFAULT_HIGH, n_train // _UPDATES_PER_EPOCH))

    def capped(self, limit: int) -> BatchSize:
        """The sizes up to `limit`, for example the largest that fits the device.

        Raises:
            ValueError: If no size is left.
        """
        kept = [size for size in self.values() if size <= limit]
        if not kept:
            raise ValueError(f"The smallest batch size must not exceed {limit}; got {self.values()}. Lower it.")
        return BatchSize.of(*kept)

    def shared_by(self, cards: int) -> BatchSize:
        """The sizes that so many cards share equally; what does not depend on the data.

        Raises:
            ValueError: If no size is left.

        Examples:
            >>> BatchSize.of(8, 9, 16).shared_by(4).values()
            (8, 16)
        """
        kept = [size for size in self.values() if size % cards == 0]
        if not kept:
            raise ValueError(
                f"A batch size must be a multiple of the {cards} cards that share it; got {self.values()}. Give some, "
                f"such as {4 * cards},{8 * cards},{16 * cards}."
            )
        return BatchSize.of(*kept)

    def from_multiple_of(self, cards: int) -> BatchSize:
        """The same powers, from the smallest multiple of a number of cards that is not below the lower bound.

        Examples:
            >>> BatchSize(8, 64).from_multiple_of(3).values()
            (9, 18, 36)
        """
        if self.sizes or self.low is None or not isinstance(self.high, int):
            return self
        low = -(-self.low // cards) * cards
        return replace(self, low=low, high=max(low, self.high))

    def values(self) -> tuple[int, ...]:
        """The sizes, ascending.

        Raises:
            ValueError: If they depend on the data; call `within(n_train)` first.
        """
        if self.is_open:
            raise ValueError("These batch sizes depend on the data; call within(n_train) first.")
        if self.sizes:
            return tuple(sorted(int(size) for size in self.sizes))
        assert isinstance(self.low, int)
        assert isinstance(self.high, int)
        return tuple(_powers(self.low, self.high, self.factor))


def parse_batch_sizes(text: str) -> BatchSize:
    """Read a comma-separated list such as `8,32,full`.

    Raises:
        ValueError: If an entry is neither `full` nor a whole number of at least 1.
    """
    return BatchSize.of(*(_parse_size(word.strip()) for word in text.split(",")))


def _parse_size(word: str) -> int | str:
    if word.lower() == FULL:
        return FULL
    try:
        return int(word)
    except ValueError:
        raise ValueError(f"A batch size must be a whole number or 'full'; got {word!r}.") from None


def _check_size(name: str, size: object) -> int:
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise ValueError(f"{name} must be a whole number of at least 1; got {size!r}.")
    value = int(size.__index__())
    if value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {value}.")
    return value


def _at_most(n_train: int, size: int | str) -> int:
    if size == FULL:
        return n_train
    if int(size) > n_train:
        raise ValueError(
            f"A batch size must not exceed the {n_train} training examples; got {size}. "
            "Use a smaller one, or 'full' for all of them."
        )
    return int(size)


def _powers(low: int, high: int, factor: int) -> Iterable[int]:
    size = low
    while size <= high:
        yield size
        size *= factor
