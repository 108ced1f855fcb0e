import logging
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from search_spaces.collecting import Collector, as_batch, row_hashes
from search_spaces.dataset_chain import Length, is_batched, is_shuffled, length_of
from search_spaces.datasets import _in_time, collect
from search_spaces.structure import DataError

X, Y = np.arange(80.0).reshape(40, 2), np.arange(40)
PLAIN = tf.data.Dataset.from_tensor_slices((X, Y))
GENERATED = tf.data.Dataset.from_generator(
    lambda: [(X, Y)], output_signature=tf.nest.map_structure(tf.TensorSpec, ((40, 2), (40,)))
)
OPTIONS = tf.data.Options()


def pair(x, y):
    return x, y


@pytest.mark.parametrize(
    ("dataset", "batched"),
    [
        (PLAIN, False),
        (PLAIN.batch(4), True),
        (PLAIN.batch(4, num_parallel_calls=2).prefetch(1), True),
        (PLAIN.padded_batch(4).cache(), True),
        (PLAIN.shuffle(9).batch(4).map(pair, num_parallel_calls=2).with_options(OPTIONS).take(3), True),
        (PLAIN.batch(8).rebatch(4), True),
        (PLAIN.batch(4).concatenate(PLAIN.batch(3)), True),
        (tf.data.Dataset.zip(PLAIN.batch(4), PLAIN.batch(4)), True),
        (PLAIN.batch(4).unbatch().map(pair), False),
        (PLAIN.batch(4).unbatch().batch(2), True),
        (GENERATED, None),
        (PLAIN.interleave(lambda x, y: PLAIN), None),
        (tf.data.Dataset.from_tensors((X, Y)), None),
        (tf.data.Dataset.sample_from_datasets([PLAIN, PLAIN]), None),
    ],
)
def test_the_making_of_a_dataset_tells_whether_it_is_batched(dataset, batched) -> None:
    assert is_batched(dataset) is batched


@pytest.mark.parametrize(
    ("dataset", "length"),
    [
        (PLAIN, Length.FINITE),
        (PLAIN.repeat(), Length.ENDLESS),
        (PLAIN.repeat().batch(3).unbatch(), Length.ENDLESS),
        (PLAIN.repeat().filter(lambda x, y: True), Length.ENDLESS),
        (PLAIN.repeat().take(4), Length.FINITE),
        (PLAIN.filter(lambda x, y: True).map(pair).batch(3).unbatch().prefetch(1), Length.FINITE),
        (PLAIN.repeat().take_while(lambda x, y: y < 9), Length.UNKNOWN),
        (tf.data.TFRecordDataset("nowhere").map(lambda record: record), Length.FINITE),
        (tf.data.TextLineDataset("nowhere"), Length.FINITE),
        (GENERATED, Length.UNKNOWN),
    ],
)
def test_the_making_of_a_dataset_tells_whether_it_ends(dataset, length: Length) -> None:
    assert length_of(dataset) is length


def test_shuffling_is_found_below_what_follows_it() -> None:
    assert is_shuffled(tf.data.Dataset.zip(PLAIN, PLAIN.shuffle(4).batch(2).map(pair)))
    assert is_shuffled(PLAIN.concatenate(PLAIN.shuffle(4)))
    assert not is_shuffled(PLAIN.batch(2))


def test_a_shuffled_dataset_comes_in_one_order_whatever_it_was_shuffled_to(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        (x, y, _), (again, _, _) = (collect("training", PLAIN.shuffle(40).batch(7)) for _ in range(2))
    assert "The training dataset shuffles" in caplog.text
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(x, X[y])
    assert sorted(y) == list(range(40))
    assert y.tolist() != sorted(y)


def test_a_shuffle_with_a_seed_comes_in_the_same_order_as_any_other() -> None:
    seeded = PLAIN.shuffle(40, seed=1, reshuffle_each_iteration=False)  # which two passes do not show
    np.testing.assert_array_equal(collect("training", seeded)[0], collect("training", PLAIN.shuffle(40))[0])


def test_a_second_pass_tells_the_order_and_the_examples() -> None:
    collector = Collector("training")
    for begin in (0, 20):
        collector.add((X[begin : begin + 20],))
    assert collector.compare([(X[:30],), (X[30:],)]) == (True, True)
    assert collector.compare([(X[:30],), (X[:29:-1],)]) == (False, True)
    assert collector.compare([(X[:30],), (X[30:] + 0.5,)]) == (False, False)


def test_whether_elements_are_batches_can_be_told() -> None:
    x, y, _ = collect("training", tf.data.Dataset.from_tensors((X, Y)), batched=True)
    np.testing.assert_array_equal(x, X)
    x, y, _ = collect("training", tf.data.Dataset.from_tensors((X, Y)), batched=False)
    assert (x.shape, y.shape) == ((1, 40, 2), (1, 40))


def test_a_part_of_the_examples_drawn_anew_is_random_content() -> None:
    with pytest.raises(DataError, match="Two passes over the training dataset must give the same examples"):
        collect("training", PLAIN.shuffle(40).take(20))


def test_an_element_with_weights_and_no_targets_is_not_read_as_one_with_targets() -> None:
    assert as_batch("training", (X, None, Y))[1] is None
    assert len(as_batch("training", (X, Y, None))) == 2


def test_an_empty_dataset_is_refused() -> None:
    with pytest.raises(DataError, match="must have examples; got none"):
        collect("training", PLAIN.filter(lambda x, y: y < 0))


def test_weights_and_nested_inputs_are_collected_as_they_nest() -> None:
    dataset = tf.data.Dataset.from_tensor_slices(({"a": X, "b": (Y, Y)}, Y, np.ones(40)))
    x, y, weight = collect("training", dataset.batch(9))
    np.testing.assert_array_equal(x["a"], X)
    np.testing.assert_array_equal(x["b"][1], Y)
    assert y.tolist() == list(range(40))
    assert weight.shape == (40,)


def test_more_than_may_be_held_is_refused_while_it_is_collected() -> None:
    collector = Collector("training", most_bytes=100 * X[0].nbytes)
    for _ in range(2):
        collector.add((X,))
    with pytest.raises(DataError, match=r"which may take 1.56 KiB; got more than that"):
        collector.add((X,))
    np.testing.assert_array_equal(collector.arrays()[0], np.concatenate([X, X]))


def test_long_strings_count_by_their_length() -> None:
    collector = Collector("training", most_bytes=10_000)
    collector.add((np.array([b"x" * 5000], dtype=object),))
    with pytest.raises(DataError, match=r"may take 9\.77 KiB"):
        collector.add((np.array([b"y" * 5000], dtype=object),))


def test_a_batch_of_another_shape_is_refused() -> None:
    collector = Collector("training")
    collector.add((X,))
    with pytest.raises(DataError, match=r"one shape and type; got \(1,\) after \(2,\)"):
        collector.add((X[:, :1],))


@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool", "U3", "S2", "object"])
def test_rows_have_the_number_of_their_values_wherever_they_stand(dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 2, (64, 5)).astype(dtype)
    rows = [row.tobytes() if dtype != "object" else str(row) for row in values]
    hashes = row_hashes((values,))
    assert len(set(hashes.tolist())) == len(set(rows))
    np.testing.assert_array_equal(row_hashes((values[::-1],)), hashes[::-1])


def test_signs_do_not_cancel_each_other_out() -> None:
    rows = np.ones((3, 8), "float32")
    rows[1, [1, 3]] = -1  # each the highest bit of a word of 8 bytes
    rows[2, [1, 5]] = -1
    assert len(set(row_hashes((rows,)).tolist())) == 3


def test_values_count_in_their_own_place() -> None:
    a, b = np.array([[1, 2]]), np.array([[3, 4]])
    assert row_hashes((a, b)) != row_hashes((b, a))
    assert row_hashes((a,)) != row_hashes((a[:, ::-1],))


def test_a_dataset_of_unknown_length_is_read_for_a_while_only() -> None:
    times = iter(range(100))

    def endless() -> Iterator[int]:
        while True:
            yield 0

    with pytest.raises(DataError, match="is read for 3 seconds; the validation dataset has not ended by then"):
        list(_in_time("validation", endless(), 3.0, lambda: float(next(times))))
