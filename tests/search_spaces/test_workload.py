"""Workloads are found by name, module or file, and what is found is a workload."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search_spaces import BatchSize, Data, Workload, WorkloadError, load_workload
from search_spaces.workload import BUILT_IN, FILE_MODULE_PREFIX


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_workload_loads_under_its_name(name: str) -> None:
    assert load_workload(name).name == name


def test_digits_are_split_once_and_for_all() -> None:
    data = load_workload("digits").load_data()
    assert (data.n_train, data.n_val) == (1437, 360)
    assert np.array_equal(data.x_val, load_workload("digits").load_data().x_val)


def test_grey_values_of_an_mnist_file_become_zero_to_one(tmp_path: Path) -> None:
    images, labels = np.full((2, 28, 28), 255, "uint8"), np.zeros(2, "uint8")
    np.savez(tmp_path / "m.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    data = load_workload("mnist").with_data_file(str(tmp_path / "m.npz")).load_data()
    assert data.x_train.max() == 1.0


def test_a_file_s_build_function_is_a_workload(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def build(hp):\n    return None\n")
    workload = load_workload(f"{tmp_path / 'mine.py'}:build")
    assert workload.name == "build"
    with pytest.raises(WorkloadError, match="brings no data; give --data"):
        workload.load_data()


def test_a_class_with_build_becomes_an_instance(tmp_path: Path) -> None:
    (tmp_path / "hyper.py").write_text("class Hyper:\n    def build(self, hp):\n        return None\n")
    assert load_workload(f"{tmp_path / 'hyper.py'}:Hyper").build.build(None) is None


def test_a_file_is_loaded_under_a_name_of_its_own(tmp_path: Path) -> None:
    import tuning

    (tmp_path / "tuning.py").write_text("def build_model():\n    return None\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/tuning.py").write_text("def build_model():\n    return None\n")
    first, second = (load_workload(f"{path}/tuning.py:build_model").build for path in (tmp_path, tmp_path / "other"))
    assert sys.modules["tuning"] is tuning
    assert first.__module__.startswith(FILE_MODULE_PREFIX)
    assert first.__module__ != second.__module__
    assert sys.modules[first.__module__].build_model is first


def test_a_file_may_import_its_neighbour_but_not_replace_what_python_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('not this one')\n")  # a module that nothing here imports
    (tmp_path / "only_here.py").write_text("N = 3\n")
    (tmp_path / "file.py").write_text("import colorsys\nfrom only_here import N\ndef build():\n    return N\n")
    assert load_workload(f"{tmp_path / 'file.py'}:build").build() == 3
    assert sys.path[-1] == str(tmp_path)
    load_workload(f"{tmp_path / 'file.py'}:build")
    assert sys.path.count(str(tmp_path)) == 1


def test_a_module_of_the_working_directory_is_found_after_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "only_there.py").write_text("def build():\n    return 4\n")
    assert load_workload("only_there:build").build() == 4
    assert sys.path[-1] == str(tmp_path)


def test_a_file_that_raises_leaves_no_module_behind(tmp_path: Path) -> None:
    before = {name for name in sys.modules if name.startswith(FILE_MODULE_PREFIX)}
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(WorkloadError, match=r"broken.py must run without error; got ZeroDivisionError"):
        load_workload(f"{tmp_path / 'broken.py'}:x")
    assert {name for name in sys.modules if name.startswith(FILE_MODULE_PREFIX)} == before


def test_a_data_file_brings_its_own_build_and_no_larger_sizes_than_suit_it(tmp_path: Path) -> None:
    half = Data(np.zeros((100, 2)), np.zeros(100), np.zeros((10, 2)), np.zeros(10))
    whole = Workload(
        "w",
        build=lambda: "any",
        batch_size=BatchSize(8, 4096),
        read_file=lambda path: half,
        build_for=lambda data: lambda: f"for {data.n_train}",
    )
    workload = whole.with_data_file("half.npz")
    assert workload.build() == "for 100"
    assert workload.load_data().n_train == 100
    assert workload.batch_size == BatchSize(8, 4096).suiting(100) != whole.batch_size
    assert replace(whole, build_for=None).with_data_file("half.npz").build() == "any"


def test_the_data_of_a_workload_may_be_datasets() -> None:
    import tensorflow as tf

    rows = tf.data.Dataset.from_tensor_slices((np.zeros((10, 2)), np.arange(10)))
    pair = Workload("pair", build=lambda: None, data=lambda: (rows.take(8), rows.skip(8).batch(2))).load_data()
    assert pair.y_train.tolist() == list(range(8))
    assert pair.y_val.tolist() == [8, 9]
    whole = Workload("whole", build=lambda: None, data=lambda: rows, validation_split=0.2).load_data()
    assert whole.y_val.tolist() == [8, 9]
