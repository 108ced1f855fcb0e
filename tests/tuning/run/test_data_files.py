from pathlib import Path

import numpy as np

from search_spaces import Data
from tuning.run.wire import fingerprint, read_data, write_data


def nested(value: float = 0.0) -> Data:
    x = {"a": np.full((3, 2), value), "b": (np.arange(3), np.array(["x", "y", "z"]))}
    return Data(x, np.arange(3), x, np.arange(3), sample_weight_train=np.ones(3))


def test_arrays_come_back_as_they_nest_and_mapped(tmp_path: Path) -> None:
    write_data(nested(), tmp_path)
    found = read_data(tmp_path)
    assert isinstance(found.x_train["a"], np.memmap)
    assert found.x_train["b"][1].tolist() == ["x", "y", "z"]
    assert found.sample_weight_val is None
    assert found.sample_weight_train.tolist() == [1, 1, 1]


def test_the_fingerprint_tells_values_apart() -> None:
    assert fingerprint(nested()) == fingerprint(nested())
    assert fingerprint(nested()) != fingerprint(nested(1.0))
