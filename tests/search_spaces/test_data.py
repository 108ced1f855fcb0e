from pathlib import Path

import numpy as np
import pytest

from search_spaces import Data, DataError
from search_spaces.data import leaves, map_arrays

X = np.zeros((4, 2), "float32")
Y = np.zeros(4, "int32")


def test_nested_inputs_keep_their_structure() -> None:
    data = Data({"a": X, "b": (X, X)}, Y, {"a": X, "b": (X, X)}, Y)
    assert data.n_train == 4
    assert len(list(leaves(data.x_train))) == 3
    assert map_arrays(len, data.x_train) == {"a": 4, "b": (4, 4)}


def test_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="same number of examples; got x: 4, y: 3"):
        Data(X, Y[:3], X, Y)


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(DataError, match="validation part must hold at least one example"):
        Data(X, Y, X[:0], Y[:0])


def test_nan_is_refused_with_its_count() -> None:
    broken = X.copy()
    broken[0] = np.nan
    with pytest.raises(DataError, match="x_train must not hold NaN; got 2 of 8"):
        Data(broken, Y, X, Y).checked()


def test_python_objects_are_refused() -> None:
    with pytest.raises(DataError, match="dtype object"):
        Data(np.array([[1], [1, 2], [3], [4]], dtype=object), Y, X, Y).checked()


def test_an_archive_is_read_with_test_as_validation(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2])
    assert Data.from_npz(tmp_path / "d.npz").n_val == 2


def test_an_archive_without_validation_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=X, y_train=Y)
    with pytest.raises(DataError, match="needs a validation part"):
        Data.from_npz(tmp_path / "d.npz")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_text("no")
    with pytest.raises(DataError, match=r"must be an \.npz archive"):
        Data.from_npz(tmp_path / "d.npz")
    with pytest.raises(DataError, match="must exist"):
        Data.from_npz(tmp_path / "missing.npz")


def test_unbatched_datasets_become_arrays() -> None:
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(({"a": X}, Y))
    data = Data.from_tf_data(dataset, dataset.take(2))
    assert data.x_train["a"].shape == (4, 2)
    assert data.n_val == 2


def test_an_endless_dataset_is_refused() -> None:
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((X, Y))
    with pytest.raises(DataError, match="must be finite"):
        Data.from_tf_data(dataset.repeat(), dataset)
