"""Hyperparameters as plain values, the same as KerasTuner's."""

from __future__ import annotations

import pickle
from typing import Any

import keras_tuner
import pytest
from declarations import declared

from search_spaces.entry import Condition, Entry, entries_of


def test_each_kind_keeps_its_values_bounds_and_default() -> None:
    kind, filters, dropout, units, norm, levels, constant = entries_of(declared().space)
    assert kind == Entry("kind", "Choice", ("mlp", "cnn"), "cnn", is_ordered=False)
    assert filters == Entry(
        "filters", "Int", (8, 16, 24), 8, 8, 24, 8, "linear", conditions=(Condition("kind", ("cnn",)),)
    )
    assert dropout == Entry("dropout", "Float", (0.0, 0.25, 0.5), 0.25, 0.0, 0.5, 0.25, "linear")
    assert (units.low, units.high, units.step, units.sampling) == (1, 64, None, "log")
    assert units.values == tuple(sorted(set(units.values)))
    assert norm == Entry("norm", "Boolean", (True, False), False)
    assert levels == Entry("levels", "Choice", (3, 1), 3, is_ordered=False)
    assert constant == Entry("constant", "Fixed", (3,), 3)


@pytest.mark.parametrize(
    ("chosen", "expected"), [({"kind": "cnn"}, True), ({"kind": "mlp"}, False), ({}, False)], ids=str
)
def test_an_entry_exists_where_its_conditions_hold(chosen: dict[str, Any], expected: bool) -> None:
    filters = entries_of(declared().space)[1]
    assert filters.is_active(chosen) is expected


def test_an_entry_crosses_processes_and_keras_tuner_can_make_it_again() -> None:
    hp = declared()
    entries = pickle.loads(pickle.dumps(entries_of(hp.space)))
    space = [{"class_name": entry.kind, "config": dict(entry.config)} for entry in entries]
    again = keras_tuner.HyperParameters.from_config({"space": space, "values": {}})
    assert again.get_config()["space"] == hp.get_config()["space"]
