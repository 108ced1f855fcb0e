"""Stream: training data of which nobody knows the n-th example, made anew for every epoch by a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.data import Data, DataError
from search_spaces.records import read_records

Make = Callable[..., Any]
"""`make(seed, epoch)`, `make(seed)` or `make()`: returns a `tf.data.Dataset` of single examples."""


@dataclass(frozen=True)
class Stream:
    """Examples that come one after the other, such as those of TFRecord files or of a set that is read over a network.

    The factories are called in the workers. A training reads one endless concatenation of epochs, which the search
    cuts into batches, so that every batch size sees the same examples in the same order. Before a search begins, the
    training factory is tried: the same seed must give the same examples, another one must not.

    Args:
        train: `train(seed, epoch)` returns the examples of an epoch as a `tf.data.Dataset`, unbatched: `x`, `(x, y)` or
            `(x, y, sample_weight)`. `seed` is a whole number from 0 to 2**31 - 1 that differs from epoch to epoch and
            trial to trial; whatever shuffles or draws must take it: `dataset.shuffle(10_000, seed=seed)`. `epoch`
            counts from 0 and may be left out: `train(seed)`.
        validation: `validation()` returns the validation examples, always the same ones.
        n_train: Number of training examples.
        n_val: Number of validation examples; of more, the first `n_val` count.
        identity: What tells these examples from others, such as "c4-en, filtered", so that a search goes on with its
            study: nobody reads them all to find out.
        examples_per_epoch: The examples after which a trial validates and is told of, so that a search on a huge set
            ends: `epochs` passes over so many. None for `n_train`.

    Raises:
        DataError: If an argument is of the wrong kind or out of range.
    """

    train: Make
    validation: Make
    n_train: int
    n_val: int
    identity: str
    examples_per_epoch: int | None = None

    def __post_init__(self) -> None:
        for name in ("train", "validation"):
            if not callable(getattr(self, name)):
                raise DataError(
                    f"{name} must be a function that returns a tf.data.Dataset; got {getattr(self, name)!r:.60}. Write "
                    f"{name}=lambda {'seed' if name == 'train' else ''}: dataset."
                )
        for name, count in (
            ("n_train", self.n_train),
            ("n_val", self.n_val),
            ("examples_per_epoch", self.epoch_length),
        ):
            _check_count(name, count)
        if self.epoch_length > self.n_train:
            raise DataError(
                f"examples_per_epoch must not exceed n_train, {self.n_train}; got {self.epoch_length}. Search with "
                "more epochs instead."
            )
        if not isinstance(self.identity, str) or not self.identity.strip():
            raise DataError(
                f"identity must tell these examples from others; got {self.identity!r:.60}. Give a text, such as the "
                "set's name and version."
            )

    @classmethod
    def from_tfrecords(
        cls,
        pattern: Any,
        parse: Callable[..., Any],
        *,
        validation: Any,
        parse_val: Callable[..., Any] | None = None,
        n_train: int | None = None,
        n_val: int | None = None,
        examples_per_epoch: int | None = None,
        shuffle_buffer: int = 10_000,
        compression: str = "",
        identity: str = "",
    ) -> Stream:
        """Examples of TFRecord files, the files in another order in every epoch, their examples shuffled in a buffer.

        Args:
            pattern: The files to train on: a pattern such as "data/train-*.tfrecord", or a list of names.
            parse: `parse(record)` or `parse(record, seed)` makes one example of a record, a scalar string tensor, as
                `tf.data.Dataset.map` would call it. `seed` is `(2,) int32`, for `tf.image.stateless_*`: it follows
                from the trial's seed, the epoch and the place in it, and is the same at every batch size.
            validation: The files to validate on, likewise.
            parse_val: Makes a validation example, without a seed; None for `parse`.
            n_train: Number of training records; None to count them, by their lengths alone, where files are local and
                not compressed.
            n_val: Number of validation records; None to count them.
            examples_per_epoch: As for a `Stream`.
            shuffle_buffer: Examples among which the next one is drawn; they are held in memory before they are parsed.
            compression: "" for none, "GZIP" or "ZLIB".
            identity: What tells these files from others; empty for their names, sizes and times.

        Raises:
            DataError: If there are no such files, or their records cannot be counted.
        """
        found = read_records(
            pattern,
            parse,
            validation=validation,
            parse_val=parse_val,
            n_train=n_train,
            n_val=n_val,
            shuffle_buffer=shuffle_buffer,
            compression=compression,
            identity=identity,
        )
        return cls(**found, examples_per_epoch=examples_per_epoch)

    @property
    def epoch_length(self) -> int:
        """Number of training examples after which a trial validates."""
        return self.n_train if self.examples_per_epoch is None else self.examples_per_epoch

    @property
    def load(self) -> None:
        """Nothing: a stream has no keys of which examples would be loaded."""
        return None

    def checked(self) -> Stream:
        """Return the same stream; its examples are tried in a worker, before a search begins."""
        return self

    def parts(self) -> Mapping[str, Any]:
        """Return no arrays: a stream holds none."""
        return {}


TrainingData = Data | Stream
"""What a search can train on."""


def made_by(make: Make, seed: int, epoch: int) -> Any:
    """Return what a factory makes for a seed and an epoch; it is called with as many of them as it takes."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature, such as some of C's
        return make(seed, epoch)
    if any(each.kind == each.VAR_POSITIONAL for each in parameters):
        return make(seed, epoch)
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    named = {"seed": seed, "epoch": epoch}
    by_name = {
        each.name: named[each.name] for each in parameters if each.kind == each.KEYWORD_ONLY and each.name in named
    }
    return make(*(seed, epoch)[: len(positional)], **by_name)


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value.__index__()) < 1:
        raise DataError(f"{name} must be a whole number of at least 1; got {value!r:.60}.")
