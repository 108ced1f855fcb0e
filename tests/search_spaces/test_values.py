import logging

import numpy as np
import pytest

from search_spaces import values
from search_spaces.structure import DataError
from search_spaces.values import check_values, sampled_blocks

ROWS = np.arange(400_000, dtype="float32").reshape(100_000, 4)


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(values, "MOST_BYTES_READ", ROWS.nbytes - 1)


@pytest.mark.parametrize("row", [0, 50_000, 99_999])
def test_a_nan_of_an_array_that_is_read_whole_is_found_anywhere(row: int) -> None:
    broken = ROWS.copy()
    broken[row, 2] = np.nan
    with pytest.raises(DataError, match=r"x must not hold NaN; got 1 of 400000 values"):
        check_values("x", broken)


def test_of_a_larger_array_a_sample_is_read_and_that_is_said(small_limit, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        check_values("x", ROWS)
    assert "NaN was looked for in 16384 values spread over it, not in all 400000" in caplog.text


@pytest.mark.parametrize("row", [0, 99_999])
def test_the_sample_holds_the_first_and_the_last_rows(small_limit, row: int) -> None:
    broken = ROWS.copy()
    broken[row] = np.nan
    with pytest.raises(DataError, match=r"got 4 of 16384 values"):
        check_values("x", broken)


def test_the_sample_is_spread_evenly_and_the_same_every_time() -> None:
    first = np.array([block[0, 0] for block in sampled_blocks(ROWS)]) / 4
    assert len(first) == 64
    assert set(np.diff(first)) <= {1586.0, 1587.0, 1588.0}  # (100000 - 64) / 63, rounded down
    np.testing.assert_array_equal(
        np.concatenate(list(sampled_blocks(ROWS))), np.concatenate(list(sampled_blocks(ROWS)))
    )


def test_fewer_rows_than_a_sample_has_are_looked_at_all_the_same() -> None:
    assert sorted({float(value) for block in sampled_blocks(ROWS[:10]) for value in block[:, 0]}) == [
        4.0 * row for row in range(10)
    ]
