"""TFRecord files as the factories of a `Stream`."""

from __future__ import annotations

import functools
import glob
import hashlib
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.loading import call, takes_seed
from search_spaces.structure import DataError

_LENGTH = struct.Struct("<Q")  # before each record: its length, and 4 bytes that check it; 4 check the record
_BESIDE = 12 + 4
_FILES_AT_ONCE = 8
_SEED_OF_GRAPH = 1  # any but 0, with which TensorFlow 2.21 cannot take a tensor for a shuffle's own seed
_IN_A_ROW = 16  # records that are taken of one file before the next one's turn


@dataclass(frozen=True)
class TrainingRecords:
    """Makes the examples of an epoch of TFRecord files.

    Args:
        files: Their names.
        parse: Makes an example of a record, perhaps with a seed.
        shuffle_buffer: Examples among which the next one is drawn.
        compression: "", "GZIP" or "ZLIB".
    """

    files: tuple[str, ...]
    parse: Callable[..., Any]
    shuffle_buffer: int
    compression: str = ""

    def __call__(self, seed: int) -> Any:
        """Return the examples as a seed orders them."""
        import tensorflow as tf

        return self.one_after_the_other(tf.data.Dataset.from_tensors(tf.constant(seed, tf.int64)))

    def one_after_the_other(self, seeds: Any) -> Any:
        """Return the examples of one epoch after the other, without Python in between: its dataset is made by a graph.

        Making it anew by Python takes 25 ms of an epoch (measured).

        Args:
            seeds: A dataset of the epochs' seeds, int64.
        """
        return seeds.flat_map(self._of)

    def _of(self, seed: Any) -> Any:
        """Return the examples as a seed orders them, inside a graph."""
        import tensorflow as tf

        order = tf.ensure_shape(tf.numpy_function(self._order, [seed], tf.int64), (len(self.files),))
        files = tf.data.Dataset.from_tensor_slices(tf.gather(tf.constant(self.files), order))
        records = files.interleave(
            lambda file: tf.data.TFRecordDataset(file, compression_type=self.compression),
            cycle_length=min(_FILES_AT_ONCE, len(self.files)),
            block_length=_IN_A_ROW,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return (
            self._shuffled(records, seed)
            .enumerate()
            .map(
                functools.partial(self._parsed, tf.cast(seed, tf.int32)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
        )

    def _shuffled(self, records: Any, seed: Any) -> Any:
        """Return the records in the order of a seed, which TensorFlow mixes with that of the graph around it."""
        import tensorflow as tf

        graph = tf.compat.v1.get_default_graph()
        before, graph.seed = graph.seed, _SEED_OF_GRAPH
        try:
            return records.shuffle(self.shuffle_buffer, seed=seed)
        finally:
            graph.seed = before

    def _parsed(self, seed: Any, place: Any, record: Any) -> Any:
        import tensorflow as tf

        return call(self.parse, (record,), tf.stack([seed, tf.cast(place, tf.int32)]))

    def _order(self, seed: Any) -> Any:
        return np.random.default_rng(int(seed)).permutation(len(self.files))


@dataclass(frozen=True)
class ValidationRecords:
    """Makes the examples of TFRecord files in their order.

    Args:
        files: Their names.
        parse: Makes an example of a record.
        compression: "", "GZIP" or "ZLIB".
    """

    files: tuple[str, ...]
    parse: Callable[..., Any]
    compression: str = ""

    def __call__(self) -> Any:
        """Return the examples."""
        import tensorflow as tf

        records = tf.data.TFRecordDataset(list(self.files), compression_type=self.compression)
        return records.map(self.parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def read_records(
    pattern: Any,
    parse: Callable[..., Any],
    *,
    validation: Any,
    parse_val: Callable[..., Any] | None,
    n_train: int | None,
    n_val: int | None,
    shuffle_buffer: int,
    compression: str,
    identity: str,
) -> dict[str, Any]:
    """Return the arguments of `Stream`, see `Stream.from_tfrecords`."""
    if compression not in ("", "GZIP", "ZLIB"):
        raise DataError(f'compression must be "", "GZIP" or "ZLIB"; got {compression!r:.60}.')
    if isinstance(shuffle_buffer, bool) or not isinstance(shuffle_buffer, int) or shuffle_buffer < 2:
        raise DataError(
            f"shuffle_buffer must be a whole number of at least 2; got {shuffle_buffer!r:.60}. Take as many as memory "
            "allows."
        )
    then = parse if parse_val is None else parse_val
    for name, given in (("parse", parse), ("parse_val", then)):
        if not callable(given):
            raise DataError(f"{name} must be a function that makes one example of a record; got {given!r:.60}.")
    if takes_seed(then, 1):
        raise DataError(
            "Validation examples must not depend on a seed; got a parse with one. Give a parse_val that takes none, "
            "without the augmentation."
        )
    files, files_val = _files_of("training", pattern), _files_of("validation", validation)
    return {
        "train": TrainingRecords(files, parse, shuffle_buffer, compression),
        "validation": ValidationRecords(files_val, then, compression),
        "n_train": _counted("n_train", files, compression) if n_train is None else n_train,
        "n_val": _counted("n_val", files_val, compression) if n_val is None else n_val,
        "identity": identity or _identity((*files, *files_val)),
    }


def count_records(file: str | Path) -> int:
    """Return the number of records of a TFRecord file that is not compressed, without reading them.

    Raises:
        DataError: If it is no such file, or cut off.
    """
    count, place, size = 0, 0, os.path.getsize(file)
    with open(file, "rb", buffering=0) as opened:
        while place < size:
            opened.seek(place)
            head = opened.read(_LENGTH.size)
            place += _LENGTH.unpack(head)[0] + _BESIDE if len(head) == _LENGTH.size else size + 1
            count += 1
    if place != size:
        raise DataError(
            f"A TFRecord file must hold whole records; {file} does not end with one. Write it again, or give its "
            "compression."
        )
    return count


def _files_of(part: str, given: Any) -> tuple[str, ...]:
    patterns = [given] if isinstance(given, str | Path) else given
    if not isinstance(patterns, list | tuple) or not all(isinstance(each, str | Path) for each in patterns):
        raise DataError(f"The {part} files must be a pattern or a list of names; got {given!r:.60}.")
    files = [file for each in patterns for file in _matching(str(each))]
    if not files:
        raise DataError(f"The {part} pattern must match files; got {given!s:.80}, which matches none. Check the path.")
    return tuple(files)


def _matching(pattern: str) -> list[str]:
    if "://" in pattern:  # a store of TensorFlow's, such as gs://
        import tensorflow as tf

        return sorted(tf.io.gfile.glob(pattern))
    return sorted(os.path.abspath(file) for file in glob.glob(pattern) if os.path.isfile(file))


def _counted(name: str, files: Iterable[str], compression: str) -> int:
    if compression or any("://" in file for file in files):
        raise DataError(f"Records can be counted in local files that are not compressed; got others. Give {name}.")
    return sum(map(count_records, files))


def _identity(files: Iterable[str]) -> str:
    """Return a digest of names, sizes and times; of files in stores elsewhere, of the names alone."""
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        digest.update(os.path.basename(file).encode())
        if "://" not in file:
            found = os.stat(file)
            digest.update(f"{found.st_size},{found.st_mtime_ns}".encode())
    return digest.hexdigest()
