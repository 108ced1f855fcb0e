from pathlib import Path

import numpy as np
import pytest

from search_spaces import Workload, WorkloadError, load_workload
from search_spaces.workload import BUILT_IN


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


def test_a_missing_attribute_names_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("here = 1\n")
    with pytest.raises(WorkloadError, match="no attribute 'there'; it has here"):
        load_workload(f"{tmp_path / 'other.py'}:there")


def test_a_file_that_raises_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(WorkloadError, match="ZeroDivisionError"):
        load_workload(f"{tmp_path / 'broken.py'}:x")


@pytest.mark.parametrize("text", ["nonsense", "no.such.module:x", "missing.py:x"])
def test_what_cannot_be_found_is_told(text: str) -> None:
    with pytest.raises(WorkloadError, match="must"):
        load_workload(text)


def test_what_is_no_workload_is_refused(tmp_path: Path) -> None:
    (tmp_path / "number.py").write_text("n = 3\n")
    with pytest.raises(WorkloadError, match="n is int"):
        load_workload(f"{tmp_path / 'number.py'}:n")
    with pytest.raises(WorkloadError, match="epochs must be at least 1"):
        Workload("w", build=lambda: None, epochs=0)
