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


def test_an_archive_is_read_with_test_as_validation(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=X, y_train=Y, x_test=X[:2], y_test=Y[:2])
    assert Data.from_npz(tmp_path / "d.npz").n_val == 2


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
