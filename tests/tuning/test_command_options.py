"""What the command line takes of `search`: callbacks, weights, and how to validate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_spaces import Data, Workload
from search_spaces.image_folder import ImageReader
from tuning.cli import make_parser
from tuning.commands.search_options import read_options
from tuning.commands.source import read_arguments, read_workload
from tuning.commands.telling import read_rule
from tuning.search.options import SearchArguments

X, Y = np.arange(40, dtype="float32").reshape(10, 4), np.arange(10) % 2


class Stop:
    """Stands for a callback."""

    def set_model(self, model: Any) -> None: ...


def pairs() -> tuple[Any, Any]:
    return X, Y


def asked(*options: str) -> Any:
    return make_parser().parse_args(["grid", "digits", *options])


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
    (tmp_path / "mine.py").write_text(
        "from search_spaces import Data, Workload\n"
        "class Stop:\n    def set_model(self, model): ...\n"
        "stops = [Stop(), Stop()]\n"
        "mine = Workload('mine', print, lambda: Data([[1.0]], [0], [[1.0]], [0]), callbacks=[Stop()])\n"
    )
    options = ["--callbacks", f"{tmp_path / 'mine.py'}:stops", "--class-weight", "0:1,1:5"]
    told = make_parser().parse_args(["grid", f"{tmp_path / 'mine.py'}:mine", *options, "--validation-batch-size", "7"])
    found = read_arguments(read_workload(told), told)
    assert [type(each).__name__ for each in found.callbacks] == ["Stop", "Stop"]
    assert found.fit_options == {"class_weight": {0: 1.0, 1: 5.0}}
    assert found.evaluation_batch_size == 7


def test_files_may_have_spaces_and_any_letters_and_be_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ein Ordner: ß"
    folder.mkdir()
    (folder / "модель 1.py").write_text("def build(hp): pass\n")
    np.savez(folder / "данные.npz", x_train=X, y_train=Y, x_val=X, y_val=Y)
    (tmp_path / "link.npz").symlink_to(folder / "данные.npz")
    monkeypatch.chdir(tmp_path)
    for data in (str(folder / "данные.npz"), "link.npz"):
        words = ["grid", f"{folder}/модель 1.py:build", "--data", data, "--study", "Größe 1"]
        assert read_workload(make_parser().parse_args(words)).load_data().n_train == 10


def test_a_file_without_a_validation_part_is_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x_train=X, y_train=Y)
    (tmp_path / "mine.py").write_text("def build(hp): pass\n")
    workload = f"{tmp_path / 'mine.py'}:build"
    options = ["--data", str(tmp_path / "data.npz"), "--validation-split", "0.3"]
    data = read_workload(make_parser().parse_args(["grid", workload, *options])).load_data()
    assert (data.n_train, data.n_val) == (7, 3)
    assert np.array_equal(data.x_val, X[7:])


def test_options_tell_how_data_are_read(tmp_path: Path) -> None:
    for path in (tmp_path / kind / f"{i}.png" for kind in "ab" for i in range(2)):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "table.csv").write_text("x,y\n1,2\n3,4\n5,6\n")
    (tmp_path / "mine.py").write_text("def build(hp): pass\n")

    def read(path: Path, *options: str) -> Data:
        workload = f"{tmp_path / 'mine.py'}:build"
        asked = ["grid", workload, "--data", str(path), "--validation-split", "0.4", *options]
        return read_workload(make_parser().parse_args(asked)).load_data()

    for size, shape in (("12x8", (12, 8, 3)), ("12", (12, 12, 3))):
        reader = read(tmp_path, "--image-size", size).load_val
        assert isinstance(reader, ImageReader)
        assert reader.shape == shape
    assert read(tmp_path / "table.csv", "--label", "x").y_train.tolist() == [1]
    for options, message in (
        (("--image-size", "large"), "--image-size must be HEIGHTxWIDTH in pixels, such as 64x64; got 'large'"),
        (("--label", "y"), "--label tells how --data are read; got it without --data"),
    ):
        with pytest.raises(ValueError, match=message):
            read_workload(asked(*options))


def test_a_tensorboard_callback_without_its_package_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = type("TensorBoard", (Stop,), {})()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="needs the package tensorboard"):
        SearchArguments(Data(X, Y, X, Y), 1, (board,))


def test_the_cost_that_decides_is_asked_of_searches_and_of_what_is_recorded() -> None:
    assert (read_options(asked()).cost, read_options(asked("--cost", "energy")).cost) == ("time", "energy")
    for command in ("pick", "report"):
        assert read_rule(make_parser().parse_args([command, "--cost", "energy"]))["cost"] == "energy"
