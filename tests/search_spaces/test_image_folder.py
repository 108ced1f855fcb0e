"""Folders of images: the examples, labels and parts that Keras makes of them, and folders that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from search_spaces.data import Data, DataError
from search_spaces.image_folder import list_images

FILES = {"b/2.png": (4, 6), "b/10.PNG": (4, 6), "b/deep/1.png": (5, 5), "a/x.png": (8, 3), "a/y.png": (4, 6)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of images of several sizes, and files that are none."""
    return fill(tmp_path / "images")


def fill(root: Path) -> Path:
    random = np.random.default_rng(0)
    for name, size in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image = random.integers(0, 256, (*size, 3), dtype="uint8")
        (root / name).write_bytes(tf.io.encode_png(image).numpy())
    (root / ".hidden").mkdir()
    (root / "a" / "notes.txt").write_text("none")
    return root


def by_keras(folder: Path, **options: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    dataset = keras.utils.image_dataset_from_directory(
        folder, image_size=(6, 5), batch_size=None, verbose=False, **options
    )
    images, labels = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(images), np.stack(labels)


def loaded(data: Data, part: str = "train") -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    load = data.load if part == "train" else data.load_val
    keys = data.train if part == "train" else data.validation
    assert load is not None
    images, labels = zip(*(load(*key) for key in zip(*keys, strict=True)), strict=True)
    return np.stack(images), np.stack(labels)


@pytest.mark.parametrize("color_mode", ["rgb", "grayscale"])
def test_images_and_labels_are_those_of_keras(folder: Path, color_mode: str) -> None:
    data = Data.from_image_folder(folder, folder, image_size=(6, 5), color_mode=color_mode)
    images, labels = by_keras(folder, shuffle=False, color_mode=color_mode)
    assert (data.n_train, data.y_train.dtype) == (5, np.int32)
    for part in ("train", "validation"):
        found = loaded(data, part)
        np.testing.assert_array_equal(found[0], images)
        np.testing.assert_array_equal(found[1], labels)


def test_a_split_is_that_of_keras(folder: Path) -> None:
    data = Data.from_image_folder(folder, validation_split=0.4, image_size=(6, 5), seed=7)
    for part, subset in (("train", "training"), ("validation", "validation")):
        images, labels = by_keras(folder, validation_split=0.4, subset=subset, seed=7)
        np.testing.assert_array_equal(sorted(loaded(data, part)[1]), sorted(labels))
        np.testing.assert_allclose(
            sorted(loaded(data, part)[0].sum((1, 2, 3))), sorted(images.sum((1, 2, 3))), rtol=1e-6
        )


def test_training_images_alone_are_augmented(folder: Path) -> None:
    def augment(image: Any, seed: Any) -> Any:
        return image * 0 + tf.cast(seed[1], tf.float32)

    data = Data.from_image_folder(folder, folder, image_size=(6, 5), augment=augment)
    assert data.load is not None
    image, label = data.load(data.x_train[0], data.y_train[0], np.array([1, 3]))
    assert (float(image[0, 0, 0]), int(label)) == (3.0, 0)
    np.testing.assert_array_equal(loaded(data, "validation")[0], by_keras(folder, shuffle=False)[0])


def test_keys_are_the_same_wherever_the_folder_lies(folder: Path, tmp_path: Path) -> None:
    elsewhere = fill(tmp_path / "elsewhere")
    np.testing.assert_array_equal(list_images(folder)[0], list_images(elsewhere)[0])
    assert list_images(folder)[0][0] == b"a/x.png"
    assert Data.from_image_folder(folder, folder, identity="photos").identity == "photos"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train_dir": "absent", "val_dir": "images"}, "An image folder must exist; got absent"),
        ({"train_dir": "images/a", "val_dir": "images"}, "two classes or more; images/a has none. Move the images"),
        (
            {"train_dir": "images", "val_dir": "other"},
            "Both folders must have the same classes; images has a, b, other has",
        ),
        ({"train_dir": "empty", "val_dir": "images"}, r"Every class must have images.*; empty has none in z. Add some"),
        ({"train_dir": "images"}, "validated on val_dir or on a validation_split of itself; got None and None"),
        ({"train_dir": "images", "val_dir": "images", "validation_split": 0.2}, "Give one of them"),
        ({"train_dir": "images", "validation_split": 1.2}, "must lie between 0 and 1; got 1.2"),
        ({"train_dir": "images", "validation_split": 0.1}, "Both parts must hold an image; got 5 images"),
        (
            {"train_dir": "images", "val_dir": "images", "color_mode": "hsv"},
            "must be one of grayscale, rgb, rgba; got 'hsv'",
        ),
        ({"train_dir": "images", "val_dir": "images", "image_size": (0, 3)}, r"at least 1 each; got \(0, 3\)"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_told_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(folder.parent)
    for name in ("other/a/1.png", "other/c/1.png", "empty/a/1.png", "empty/z/1.txt"):
        Path(name).parent.mkdir(parents=True)
        Path(name).touch()
    with pytest.raises(DataError, match=message):
        Data.from_image_folder(**given)
