"""The workload `images`: its folder, its augmentation, and other folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from search_spaces import DataError, load_workload
from search_spaces.images import build_model, digits_folder, load_pictures, shifted
from search_spaces.workload import WorkloadError


def loaded(load: Any, keys: Any, *seeds: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    images, labels = zip(*(load(*key, *seeds) for key in zip(*keys, strict=True)), strict=True)
    return np.stack(images), np.stack(labels)


def test_the_pictures_are_the_digits_and_the_model_learns_them() -> None:
    data, digits = load_pictures(), load_workload("digits").load_data()
    assert (data.n_train, data.n_val) == (digits.n_train, digits.n_val)
    few = [part[::4] for part in data.validation]
    images, labels = loaded(data.load_val, few)
    numbers = [int(Path(name.decode()).stem) for name in few[0]]
    np.testing.assert_array_equal(labels, digits.y_val[numbers])
    # resized from 8x8, whose means they keep
    np.testing.assert_allclose(images.mean((1, 2, 3)) / 255, digits.x_val[numbers].mean(1), atol=0.02)
    model = build_model()
    before = model.evaluate(images, labels, verbose=0, return_dict=True)["loss"]
    model.fit(*loaded(data.load, [part[::3] for part in data.train], np.array([0, 1])), batch_size=8, verbose=0)
    assert model.evaluate(images, labels, verbose=0, return_dict=True)["loss"] < 0.95 * before


def test_a_shift_follows_its_seed_and_keeps_the_shape() -> None:
    image = tf.reshape(tf.range(1.0, 65.0), (8, 8, 1))
    shifts = [shifted(image, np.array([0, row])).numpy() for row in range(80)]
    assert {each.shape for each in shifts} == {(8, 8, 1)}
    assert len({each.tobytes() for each in shifts}) == 9  # by -1, 0 or 1 in both directions
    np.testing.assert_array_equal(shifted(image, np.array([0, 3])), shifts[3])


def test_the_folder_is_written_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = digits_folder()
    (folder / "train" / "mark").touch()
    assert digits_folder() == folder
    assert (folder / "train" / "mark").exists()
    (folder / "train" / "mark").unlink()
    assert {each.name for each in folder.parent.iterdir()} == {folder.name}


@pytest.mark.parametrize("has_parts", [True, False])
def test_another_folder_gets_a_network_of_its_images_and_classes(tmp_path: Path, has_parts: bool) -> None:
    for name in [f"{part}/{kind}/{i}.png" for part in ("train", "val") for kind in "abc" for i in range(20)]:
        path = tmp_path / (name if has_parts else name.replace("/", "", 1).replace("train", "").replace("val", ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(np.zeros((3, 2, 3), "uint8")).numpy())
    workload = load_workload("images").with_data_file(str(tmp_path), image_size=None if has_parts else (12, 9))
    data, model = workload.load_data(), workload.build()
    assert (data.n_train, data.n_val) == ((60, 60) if has_parts else (48, 12))
    assert model.input_shape == ((None, 64, 64, 3) if has_parts else (None, 12, 9, 3))
    assert model.output_shape == (None, 3)
    assert workload.batch_size is not None
    assert data.n_train // max(workload.batch_size.values()) >= 8


def test_other_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="images cannot read its files by a label; got 'kind'"):
        load_workload("images").with_data_file(str(tmp_path), label="kind")
    with pytest.raises(DataError, match="two classes or more"):
        load_workload("images").with_data_file(str(tmp_path))
