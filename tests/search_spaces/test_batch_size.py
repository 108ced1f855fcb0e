import numpy as np
import pytest

from search_spaces import FULL, BatchSize
from search_spaces.batch_size import parse_batch_sizes


def test_bounds_are_lowered_to_what_suits_other_data() -> None:
    assert BatchSize(4, 64).suiting(10_000) == BatchSize(4, 64)
    assert BatchSize(4, 64).suiting(160).values() == (4, 8, 16)
    assert BatchSize(16, 64).suiting(40).values() == (5,)
    assert BatchSize(16, 64).suiting(3).values() == (1,)
    for unbounded in (BatchSize(), BatchSize(8), BatchSize(8, FULL), BatchSize.of(8, 64)):
        assert unbounded.suiting(40) == unbounded


def test_powers_of_a_factor_lie_between_the_bounds() -> None:
    assert BatchSize(1, 100, factor=3).values() == (1, 3, 9, 27, 81)


def test_full_stands_for_the_whole_training_set() -> None:
    assert BatchSize.of(FULL, 1, 32).within(1000).values() == (1, 32, 1000)
    assert BatchSize(100, FULL).within(1000).values() == (100, 200, 400, 800, 1000)


def test_the_default_keeps_eight_updates_per_epoch() -> None:
    assert BatchSize().within(1437).values() == (8, 16, 32, 64, 128)
    assert BatchSize().within(10**6).values()[-1] == 1024
    assert BatchSize().within(3).values() == (1,)
    assert BatchSize(high=16).within(100).values() == (8, 16)
    assert BatchSize(low=50).within(100).values() == (50,)


def test_a_cap_keeps_the_sizes_that_fit() -> None:
    assert BatchSize(4, 64).capped(20).values() == (4, 8, 16)
    with pytest.raises(ValueError, match="smallest batch size must not exceed 2"):
        BatchSize(4, 64).capped(2)


def test_numpy_integers_are_whole_numbers() -> None:
    assert BatchSize.of(np.int64(8), 4).values() == (4, 8)


def test_a_written_list_is_read() -> None:
    assert parse_batch_sizes("8, 32,full").within(100).values() == (8, 32, 100)
    with pytest.raises(ValueError, match=r"whole number or 'full'; got '3\.5'"):
        parse_batch_sizes("8,3.5")
