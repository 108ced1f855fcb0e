from __future__ import annotations

from typing import Any

import pytest
from selection_helpers import MAX

from tuning.objective import Objective
from tuning.stats.table import TableRow
from tuning.stats.trade_offs import split_objectives, trade_offs


def row(batch_size: int, score: float | None, seconds: float | None, **changes: Any) -> TableRow:
    values: dict[str, Any] = {
        "learning_rate": 0.1,
        "seeds": 3,
        "objective_mean": score,
        "objective_se": 0.01,
        "verdict": "tied",
        "examples_per_second": 10.0 * batch_size,
        "peak_memory_bytes": 1000.0 * batch_size,
        "seconds_to_target": seconds,
    }
    return TableRow(batch_size, **{**values, **changes})


TABLE = (row(8, 0.9, 40.0), row(16, 0.95, 20.0), row(32, 0.93, 10.0), row(64, 0.93, 15.0), row(128, 0.99, None))


def test_the_pareto_set_holds_what_nothing_beats_in_everything() -> None:
    found = trade_offs(TABLE, ["seconds_to_target"], objective=MAX)
    assert [entry.batch_size for entry in found.rows] == [16, 32]
    assert found.to_json()["settings"][1] == {
        "batch_size": 32,
        "learning_rate": 0.1,
        "val_accuracy": 0.93,
        "seconds_to_target": 10.0,
    }
    assert found.tell().endswith("val_accuracy and seconds_to_target: 16 (0.95, 20) and 32 (0.93, 10).")


def test_a_loss_is_minimised_and_throughput_maximised() -> None:
    found = trade_offs(TABLE[:3], ["examples_per_second"], objective=Objective("val_loss", "min"))
    assert [entry.batch_size for entry in found.rows] == [8, 32]


def test_broken_batch_sizes_are_no_offer() -> None:
    broken = row(256, 0.99, 1.0, verdict="diverged")
    unconfirmed = row(256, 0.99, 1.0, verdict="not confirmed")
    for beyond in (broken, unconfirmed):
        found = trade_offs([*TABLE, beyond], ["seconds_to_target"], objective=MAX)
        assert found.rows == (TABLE[1], TABLE[2])
    assert "can be traded off" in trade_offs([broken], ["seconds_to_target"], objective=MAX).tell()


def test_the_first_objective_decides_and_the_others_are_measures() -> None:
    names = ("seconds_to_target", "peak_memory_bytes")
    assert split_objectives("val_loss:min, seconds_to_target,peak_memory_bytes") == ("val_loss:min", names)
    assert split_objectives(["val_loss", *names]) == ("val_loss", names)
    assert split_objectives("val_loss") == ("val_loss", ())
    assert split_objectives(None) == (None, ())
    with pytest.raises(ValueError, match=r"one of seconds_to_target, .*; got 'val_loss'"):
        split_objectives("val_accuracy,val_loss")
