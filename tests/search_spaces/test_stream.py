"""Streams: how their factories are called, what TFRecord files give, and which arguments are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from search_spaces import BatchSize, DataError, Stream, Workload
from search_spaces.fit_data import read_fit_data
from search_spaces.identity import fingerprint
from search_spaces.records import count_records
from search_spaces.stream import made_by
from tuning.search.preparation import check_sizes, tell_data

RECORDS = 20


def stream(**more: Any) -> Stream:
    return Stream(**{"train": print, "validation": print, "n_train": 100, "n_val": 9, "identity": "made up", **more})


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (lambda: (), ()),
        (lambda seed: (seed,), (7,)),
        (lambda seed, epoch: (seed, epoch), (7, 2)),
        (lambda *both: both, (7, 2)),
        (lambda *, epoch: (epoch,), (2,)),
        (lambda seed, *, epoch=0: (seed, epoch), (7, 2)),
        (max, 7),
    ],
)
def test_a_factory_is_given_what_it_takes(make: Any, given: Any) -> None:
    assert made_by(make, 7, 2) == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": 5}, "train must be a function that returns a tf.data.Dataset; got 5. Write train=lambda seed"),
        ({"validation": None}, "validation must be a function .* Write validation=lambda : dataset"),
        ({"n_train": 0}, "n_train must be a whole number of at least 1; got 0"),
        ({"n_val": 3.0}, "n_val must be a whole number"),
        ({"examples_per_epoch": True}, "examples_per_epoch must be a whole number"),
        ({"examples_per_epoch": 101}, "must not exceed n_train, 100; got 101"),
        ({"identity": " "}, "identity must tell these examples from others; got ' '"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        stream(**given)


def test_all_of_a_stream_is_no_batch() -> None:
    data = stream(examples_per_epoch=50)
    for sizes in (BatchSize.of(8, "full"), BatchSize(8, "full")):
        with pytest.raises(ValueError, match=r"a Stream never holds them all; got 'full'. Give numbers"):
            check_sizes(sizes, data)
    check_sizes(BatchSize.of(50), data)
    with pytest.raises(ValueError, match="exceed the 50 training examples; got 64"):
        check_sizes(BatchSize.of(64), data)
    assert (data.epoch_length, stream().epoch_length) == (50, 100)


def test_a_study_knows_a_stream_by_its_identity_and_its_numbers() -> None:
    assert fingerprint(stream()) == fingerprint(stream(train=max)) != fingerprint(stream(identity="another"))
    told = {tell_data(stream(**more)) for more in ({}, {"n_train": 101}, {"n_val": 10}, {"examples_per_epoch": 10})}
    assert len(told) == 4


def test_a_stream_is_data_of_a_search_and_of_a_workload() -> None:
    data = stream()
    assert read_fit_data(data) is data
    assert Workload("mine", print, lambda: data).load_data() is data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files to train on, with the numbers up to 20, and one to validate on."""
    for name, numbers in (("train-0", range(12)), ("train-1", range(12, RECORDS)), ("val", range(100, 104))):
        with tf.io.TFRecordWriter(str(tmp_path / f"{name}.tfrecord")) as writer:
            for number in numbers:
                writer.write(str(number).encode())
    return tmp_path


def parse(record: Any, seed: Any) -> Any:
    return tf.strings.to_number(record, tf.int32), seed


def parse_val(record: Any) -> Any:
    return tf.strings.to_number(record, tf.int32)


def records_of(folder: Path, **more: Any) -> Stream:
    given = {"validation": str(folder / "val*"), "parse_val": parse_val, **more}
    return Stream.from_tfrecords(str(folder / "train-*.tfrecord"), given.pop("parse", parse), **given)


def epoch_of(data: Stream, seed: int) -> tuple[list[int], np.ndarray[Any, Any]]:
    numbers, seeds = zip(*made_by(data.train, seed, 0).as_numpy_iterator(), strict=True)
    return [int(number) for number in numbers], np.stack(seeds)


def test_records_are_counted_shuffled_and_augmented_by_seed(folder: Path) -> None:
    data = records_of(folder, examples_per_epoch=5)
    assert (data.n_train, data.n_val, data.epoch_length) == (RECORDS, 4, 5)
    (numbers, seeds), (again, _), (other, _) = (epoch_of(data, seed) for seed in (1, 1, 2))
    assert numbers == again != other
    assert sorted(numbers) == sorted(other) == list(range(RECORDS))
    assert seeds.tolist() == [[1, place] for place in range(RECORDS)]
    assert [int(x) for x in made_by(data.validation, 0, 0)] == [100, 101, 102, 103]


def test_records_are_known_by_their_files(folder: Path) -> None:
    before = records_of(folder).identity
    assert records_of(folder).identity == before
    assert records_of(folder, identity="mine").identity == "mine"
    os.utime(folder / "val.tfrecord", ns=(5, 5))
    assert records_of(folder).identity != before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"validation": "absent*"}, "validation pattern must match files; got absent"),
        ({"validation": 5}, "validation files must be a pattern or a list of names; got 5"),
        ({"validation": []}, r"must match files; got \[\]"),
        ({"parse_val": None}, "must not depend on a seed; got a parse with one. Give a parse_val"),
        ({"parse": 5}, "parse must be a function"),
        ({"compression": "zip"}, "compression must be"),
        ({"compression": "GZIP"}, "not compressed; got others. Give n_train"),
        ({"shuffle_buffer": 1}, "shuffle_buffer must be a whole number of at least 2; got 1"),
    ],
)
def test_records_that_cannot_be_read_are_refused(folder: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        records_of(folder, **given)
    assert "\n" not in str(caught.value)


def test_compressed_records_are_read_where_their_number_is_told(tmp_path: Path) -> None:
    for name in ("train-0", "val"):
        with tf.io.TFRecordWriter(str(tmp_path / f"{name}.tfrecord"), "GZIP") as writer:
            writer.write(b"17")
    data = records_of(tmp_path, compression="GZIP", n_train=1, n_val=1)
    assert epoch_of(data, 1)[0] == [int(x) for x in made_by(data.validation, 0, 0)] == [17]


@pytest.mark.parametrize("content", [b"short", b"no records at all, but long enough to be some"])
def test_a_file_that_does_not_hold_whole_records_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=r"must hold whole records; .*does not end with one"):
        count_records(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"")
    assert count_records(tmp_path / "file") == 0
