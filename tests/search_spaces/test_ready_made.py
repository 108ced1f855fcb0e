"""The ready-made workloads: real data, split without leakage, and models that learn from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest

from search_spaces import load_workload
from search_spaces.series import HORIZON, WINDOW, windows
from search_spaces.tabular import split
from search_spaces.text import LENGTH, examples
from search_spaces.workload import BUILT_IN

EMBEDDED = sorted(set(BUILT_IN) - {"mnist"})
OF_ARRAYS = sorted(set(EMBEDDED) - {"images"})


def built(workload: Any) -> Any:
    """The model at its default hyperparameters, as KerasTuner would build it."""
    return workload.build(keras_tuner.HyperParameters()) if workload.name == "series" else workload.build()


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_the_model_takes_the_data_and_learns(name: str) -> None:
    import keras

    keras.utils.set_random_seed(0)
    workload = load_workload(name)
    data = workload.load_data()
    model = built(workload)
    train = [part[:: max(1, data.n_train // 640)] for part in data.train]
    validation = [part[:: max(1, data.n_val // 256)] for part in data.validation]
    before = model.evaluate(*validation, batch_size=256, verbose=0, return_dict=True)["loss"]
    model.fit(*train, batch_size=16, epochs=1, verbose=0)
    after = model.evaluate(*validation, batch_size=256, verbose=0, return_dict=True)
    assert after["loss"] < 0.95 * before
    assert workload.objective.removeprefix("val_") in after


def test_images_have_a_channel() -> None:
    data = load_workload("digits-cnn").load_data()
    assert data.x_train.shape == (1437, 8, 8, 1)
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)


def test_other_images_get_a_network_of_their_size(tmp_path: Path) -> None:
    images, labels = np.full((4, 6, 5, 3), 255, "uint8"), np.array([0, 1, 2, 6])
    np.savez(tmp_path / "i.npz", x_train=images, y_train=labels, x_val=images, y_val=labels)
    workload = load_workload("digits-cnn").with_data_file(str(tmp_path / "i.npz"))
    assert workload.load_data().x_train.max() == 1
    assert built(workload).input_shape == (None, 6, 5, 3)
    assert built(workload).output_shape == (None, 7)


def test_text_is_split_by_position_into_next_characters() -> None:
    text = bytes(range(256)) * 10
    data = examples(text)
    assert data.x_train.shape == data.y_train.shape == (2304 // LENGTH - 1, LENGTH)
    assert np.array_equal(data.x_train[:, 1:], data.y_train[:, :-1])
    first = np.frombuffer(text, "uint8")
    assert np.array_equal(data.x_train.ravel(), first[: data.x_train.size])
    assert np.array_equal(data.x_val.ravel(), first[2304 : 2304 + data.x_val.size])


def test_any_text_in_utf_8_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Größe " * 400, "utf-8")
    data = load_workload("text").with_data_file(str(tmp_path / "t.txt")).load_data()
    assert bytes(data.x_train[0, :8]).decode() == "Größe "


def test_windows_of_a_series_do_not_cross_the_boundary_nor_see_its_later_scale() -> None:
    series = np.concatenate([np.arange(600.0), np.full(200, 1e6)])
    data = windows(series)
    scale = np.arange(600.0).std()
    assert data.x_train.shape == (600 - WINDOW - HORIZON + 1, WINDOW)
    assert data.y_train.max() == pytest.approx((599 - 299.5) / scale, rel=1e-5)
    assert data.x_val.min() == pytest.approx((1e6 - 299.5) / scale, rel=1e-5)
    assert np.allclose(data.y_train[:-WINDOW, 0], data.x_train[WINDOW:, 0])


def test_the_last_column_of_a_table_is_the_series(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-01T{i},{i % 7}\n" for i in range(800))
    (tmp_path / "s.csv").write_text("time,load\n" + rows)
    workload = load_workload("series").with_data_file(str(tmp_path / "s.csv"))
    assert workload.load_data().y_val.shape == (200 - WINDOW - HORIZON + 1, HORIZON)
    assert workload.batch_size is not None
    assert workload.batch_size.values() == (16, 64)  # of 521 windows


def test_columns_of_a_table_are_scaled_by_the_training_part_and_classes_kept_in_proportion() -> None:
    random = np.random.default_rng(0)
    x, labels = random.normal(5, 3, (200, 4)), np.repeat(["no", "yes"], [150, 50])
    data = split(x, labels)
    assert (data.n_train, data.n_val) == (160, 40)
    assert np.allclose(data.x_train.mean(0), 0, atol=1e-5)
    assert not np.allclose(data.x_val.mean(0), 0, atol=1e-3)
    assert (data.y_train.mean(), data.y_val.mean()) == (0.25, 0.25)


def test_a_table_gets_a_network_of_its_columns_and_classes(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i * i},{'abc'[i % 3]}\n" for i in range(30))
    (tmp_path / "t.csv").write_text("u,v,kind\n" + rows)
    workload = load_workload("tabular").with_data_file(str(tmp_path / "t.csv"))
    assert built(workload).input_shape == (None, 2)
    assert built(workload).output_shape == (None, 3)
