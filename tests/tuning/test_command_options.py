"""What the command line takes of `search`: callbacks, weights, and how to validate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces import Data, Workload, WorkloadError
from tuning.cli import _parser
from tuning.commands.options import read_arguments, read_class_weight, read_options, read_rule, read_workload
from tuning.search.options import SearchArguments

X, Y = np.arange(40, dtype="float32").reshape(10, 4), np.arange(10) % 2


class Stop:
    """Stands for a callback."""


def pairs() -> tuple[Any, Any]:
    return X, Y


def asked(*options: str) -> Any:
    return _parser().parse_args(["grid", "digits", *options])


def test_a_workload_may_bring_what_search_takes() -> None:
    stop = Stop()
    workload = Workload(
        "mine",
        build=lambda: None,
        data=pairs,
        callbacks=lambda: [stop],
        class_weight={0: 2.0},
        validation_batch_size=4,
        validation_split=0.2,
    )
    found = read_arguments(workload, asked())
    assert (found.data.n_train, found.data.n_val) == (8, 2)
    assert (found.callbacks, found.evaluation_batch_size) == ((stop,), 4)
    assert found.fit_options == {"class_weight": {0: 2.0}}


def test_the_command_s_word_counts(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Stop: pass\nstops = [Stop(), Stop()]\n")
    workload = Workload("mine", build=lambda: None, data=lambda: Data(X, Y, X, Y), callbacks=[Stop()])
    options = ["--callbacks", f"{tmp_path / 'mine.py'}:stops", "--class-weight", "0:1,1:5"]
    found = read_arguments(workload, asked(*options, "--validation-batch-size", "7"))
    assert [type(each).__name__ for each in found.callbacks] == ["Stop", "Stop"]
    assert found.fit_options == {"class_weight": {0: 1.0, 1: 5.0}}
    assert found.evaluation_batch_size == 7


def test_a_file_without_a_validation_part_is_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x_train=X, y_train=Y)
    (tmp_path / "mine.py").write_text("def build(hp): pass\n")
    workload = f"{tmp_path / 'mine.py'}:build"
    options = ["--data", str(tmp_path / "data.npz"), "--validation-split", "0.3"]
    data = read_workload(_parser().parse_args(["grid", workload, *options])).load_data()
    assert (data.n_train, data.n_val) == (7, 3)
    assert np.array_equal(data.x_val, X[7:])


def test_data_without_a_validation_part_need_a_split() -> None:
    with pytest.raises(WorkloadError, match=r"mine brings none\. Give a validation_split"):
        Workload("mine", build=lambda: None, data=pairs).load_data()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 2.0])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="validation_split must lie between 0 and 1"):
        Data.split(X, Y, share)


@pytest.mark.parametrize("text", ["1", "a:1", "0:b", "0:1,"])
def test_what_is_no_class_weight_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--class-weight must be CLASS:WEIGHT"):
        read_class_weight(text)


def test_callbacks_that_cannot_be_found_are_refused() -> None:
    workload = Workload("mine", build=lambda: None, data=lambda: Data(X, Y, X, Y))
    with pytest.raises(ValueError, match="--callbacks must be"):
        read_arguments(workload, asked("--callbacks", "stops"))


def test_a_tensorboard_callback_without_its_package_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = type("TensorBoard", (), {})()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs the package tensorboard"):
        SearchArguments(Data(X, Y, X, Y), 1, (board,))


def test_the_cost_that_decides_is_asked_of_searches_and_of_what_is_recorded() -> None:
    assert (read_options(asked()).cost, read_options(asked("--cost", "energy")).cost) == ("time", "energy")
    for command in ("pick", "report"):
        assert read_rule(_parser().parse_args([command, "--cost", "energy"]))["cost"] == "energy"


def test_an_unknown_cost_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        asked("--cost", "money")
    assert "invalid choice: 'money'" in capsys.readouterr().err
