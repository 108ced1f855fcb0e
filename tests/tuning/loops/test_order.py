"""The order of examples: full batches, nothing lost, the same stream for every batch size."""

import numpy as np
import pytest

from tuning.loops.order import ExampleOrder


@pytest.mark.parametrize(("n_examples", "batch_size"), [(10, 1), (10, 3), (10, 4), (10, 10), (7, 5), (64, 8)])
def test_updates_after_e_epochs_are_the_full_batches_of_e_times_n_examples(n_examples, batch_size):
    order = ExampleOrder(n_examples, batch_size, seed=3)
    rows = [order.rows(epoch) for epoch in range(6)]
    assert [len(block) for block in rows] == [order.updates_in(epoch) for epoch in range(6)]
    assert sum(len(block) for block in rows) == order.updates_after(6) == 6 * n_examples // batch_size
    assert {len(block) for block in rows} <= {order.least_updates, order.most_updates}
    assert all(block.shape[1] == batch_size and block.dtype == np.int32 for block in rows)


def test_every_batch_size_sees_the_same_stream():
    streams = [
        np.concatenate([order.rows(epoch).ravel() for epoch in range(5)])
        for order in (ExampleOrder(30, batch_size, seed=1) for batch_size in (1, 4, 7, 29, 30))
    ]
    for stream in streams[1:]:
        np.testing.assert_array_equal(stream, streams[0][: len(stream)])


def test_each_epoch_of_the_stream_is_a_permutation_of_all_examples():
    order = ExampleOrder(12, 1, seed=0)
    epochs = [order.rows(epoch).ravel() for epoch in range(3)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(12))
    assert not np.array_equal(epochs[0], epochs[1])


def test_no_epoch_repeats_an_earlier_one():
    order = ExampleOrder(12, 1, seed=0)
    assert len({tuple(order.rows(epoch).ravel()) for epoch in range(40)}) == 40


def test_seeds_and_epochs_are_not_added_up():
    """The second epoch of one seed is not the first of the next, so that seeds are independent."""
    assert not np.array_equal(ExampleOrder(12, 1, seed=0).rows(1), ExampleOrder(12, 1, seed=1).rows(0))


def test_a_batch_may_be_the_whole_set_and_is_then_one_update_per_epoch():
    order = ExampleOrder(10, 10, seed=0)
    assert (order.least_updates, order.most_updates) == (1, 1)
    np.testing.assert_array_equal(np.sort(order.rows(3)), [np.arange(10)])


def test_leftover_examples_open_the_next_epoch():
    order = ExampleOrder(10, 4, seed=5)
    first_permutation = np.concatenate([order.rows(0).ravel(), order.rows(1).ravel()[:2]])
    np.testing.assert_array_equal(np.sort(first_permutation), np.arange(10))


def test_rows_do_not_depend_on_the_order_in_which_epochs_are_asked():
    forward = [ExampleOrder(11, 3, seed=2).rows(epoch) for epoch in range(4)]
    order = ExampleOrder(11, 3, seed=2)
    for epoch in reversed(range(4)):
        np.testing.assert_array_equal(order.rows(epoch), forward[epoch])


def test_the_seed_decides_the_stream():
    assert not np.array_equal(ExampleOrder(50, 5, seed=0).rows(0), ExampleOrder(50, 5, seed=1).rows(0))


@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_impossible_batch_sizes_are_refused(batch_size):
    with pytest.raises(ValueError, match=f"between 1 and the 10 training examples; got {batch_size}"):
        ExampleOrder(10, batch_size, seed=0)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must be at least 0; got -1"):
        ExampleOrder(10, 2, seed=-1)


@pytest.mark.parametrize("batch_size", [1, 4, 10])
def test_the_order_of_a_training_that_goes_on_is_the_rest_of_the_whole_one(batch_size):
    whole, rest = (ExampleOrder(10, batch_size, seed=2, epochs_before=before) for before in (0, 3))
    for epoch in range(4):
        assert np.array_equal(rest.rows(epoch), whole.rows(3 + epoch))
        assert np.array_equal(rest.seeds(epoch), whole.seeds(3 + epoch))
    assert rest.updates_before == whole.updates_after(3)
    assert rest.updates_before + rest.updates_after(4) == whole.updates_after(7)
