"""Sources that give the example of a number: what is read of them, and which are refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from search_spaces.data import Data, DataError
from search_spaces.loading import call, takes_seed

PAIRS = [(np.full(2, i), i % 3) for i in range(10)]
MAPPINGS = [{"image": i, "label": -i} for i in range(10)]


def example(data: Data, number: int, *, validating: bool = False) -> Any:
    load = data.load_val if validating else data.load
    assert load is not None
    return call(load, (number,), "seed")


def test_items_are_examples() -> None:
    data = Data.from_source(PAIRS, PAIRS[:4])
    assert (data.n_train, data.n_val, data.y_train) == (10, 4, None)
    assert example(data, 7)[1] == 1
    assert example(data, 3, validating=True)[1] == 0


def test_a_source_may_be_named() -> None:
    assert Data.from_source(PAIRS, PAIRS, identity="pairs, 2nd edition").identity == "pairs, 2nd edition"


def test_the_end_of_a_source_may_validate() -> None:
    data = Data.from_source(PAIRS, validation_split=0.3)
    assert (data.x_train.tolist(), data.x_val.tolist()) == (list(range(7)), [7, 8, 9])
    assert example(data, 8, validating=True)[1] == 2


def test_what_an_item_holds_is_made_an_example() -> None:
    data = Data.from_source(
        MAPPINGS,
        validation_split=0.2,
        load=lambda item, seed: (item["image"], item["label"], seed),
        load_val=lambda item: (item["image"], item["label"]),
    )
    assert example(data, 2) == (2, -2, "seed")
    assert example(data, 2, validating=True) == (2, -2)
    parts = Data.from_source(PAIRS, PAIRS, load=lambda x, y, seed: (y, seed), load_val=lambda x, y: y)
    assert parts.load is not None
    assert takes_seed(parts.load, 1)
    assert (example(parts, 4), example(parts, 4, validating=True)) == ((1, "seed"), 1)


class Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return np.zeros((3, 2)), np.zeros(3)


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        ((PAIRS,), {}, "validated on another one or on a validation_split of itself; got neither"),
        ((PAIRS, PAIRS), {"validation_split": 0.1}, "got both"),
        ((PAIRS,), {"validation_split": 1.5}, "between 0 and 1 and leave both parts examples; got 1.5 of 10"),
        ((iter(PAIRS), PAIRS), {}, "must have __len__ and __getitem__; the training one is list_iterator. Wrap it"),
        ((PAIRS, []), {}, "at least one example; the validation one is empty"),
        (({"a": 1}, PAIRS), {}, "item 0 of the training one raised KeyError: 0. Wrap it"),
        ((MAPPINGS, MAPPINGS), {}, "items of the training source are a mapping with image, label. Give load"),
        ((Batches(), PAIRS), {}, "single examples; the training one is a PyDataset, which gives batches"),
        ((PAIRS, PAIRS), {"load": lambda x, y, seed: (x, y)}, "must not depend on a seed; got load_val"),
    ],
)
def test_what_gives_no_single_examples_is_refused(sources: tuple[Any, ...], options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Data.from_source(*sources, **options)
