"""A folder of images with one folder for each class, read as Keras's `image_dataset_from_directory` reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces.loading import call
from search_spaces.structure import DataError

FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
"""The ends of the names of images, in any case; other files are passed over, as Keras does."""

CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_RESIZED = (256, 256)


@dataclass(frozen=True)
class ImageReader:
    """Reads an image of a folder: `(height, width, channels) float32` in 0..255.

    Args:
        folder: The folder.
        size: Height and width to which every image is resized, bilinearly.
        channels: 1, 3 or 4.
    """

    folder: str
    size: tuple[int, int]
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return (*self.size, self.channels)

    def __call__(self, name: Any, label: Any) -> Any:
        """Return the image of a name below the folder, and its label."""
        import tensorflow as tf

        file = tf.io.read_file(tf.strings.join([self.folder, os.sep, name]))
        image = tf.io.decode_image(file, channels=self.channels, expand_animations=False)
        resized = tf.image.resize(image, self.size)
        resized.set_shape(self.shape)
        return resized, label


@dataclass(frozen=True)
class AugmentingReader:
    """Reads an image and changes it by chance.

    Args:
        read: Reads it.
        augment: `augment(image, seed)`, which returns the changed image.
    """

    read: ImageReader
    augment: Callable[..., Any]

    def __call__(self, name: Any, label: Any, seed: Any) -> Any:
        """Return the image of a name below the folder as a seed changes it, and its label."""
        image, label = self.read(name, label)
        return call(self.augment, (image,), seed), label


def read_image_folder(
    train_dir: str | Path,
    val_dir: str | Path | None = None,
    *,
    validation_split: float | None = None,
    image_size: tuple[int, int] = _RESIZED,
    color_mode: str = "rgb",
    augment: Callable[..., Any] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the arguments of `Data`, see `Data.from_image_folder`."""
    if (val_dir is None) == (validation_split is None):
        raise DataError(
            f"An image folder is validated on val_dir or on a validation_split of itself; got {val_dir!r} and "
            f"{validation_split!r}. Give one of them."
        )
    if color_mode not in CHANNELS:
        raise DataError(f"color_mode must be one of {', '.join(CHANNELS)}; got {color_mode!r}.")
    if len(image_size) != 2 or min(image_size) < 1:
        raise DataError(f"image_size must be height and width, at least 1 each; got {image_size!r}.")
    names, labels, classes = list_images(train_dir)
    if val_dir is not None:
        names_val, labels_val, classes_val = list_images(val_dir)
        if classes_val != classes:
            raise DataError(
                f"Both folders must have the same classes; {train_dir} has {_told(classes)}, {val_dir} has "
                f"{_told(classes_val)}. Move what only one has."
            )
    else:
        assert validation_split is not None
        names, labels, names_val, labels_val = _split(names, labels, validation_split, seed)
    read, read_val = (
        ImageReader(str(Path(folder).resolve()), (image_size[0], image_size[1]), CHANNELS[color_mode])
        for folder in (train_dir, val_dir or train_dir)
    )
    load = read if augment is None else AugmentingReader(read, augment)
    arrays = {"x_train": names, "y_train": labels, "x_val": names_val, "y_val": labels_val}
    return {**arrays, "load": load, "load_val": read_val}


def list_images(folder: str | Path) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.int32], Sequence[str]]:
    """Return the names of a folder's images below it, their labels, and the classes in their order.

    Classes are the folders in it, in alphabetical order, hidden ones left out; images are found at any depth.

    Raises:
        DataError: If there is no such folder, or it has no classes, or a class has no images.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"An image folder must exist; got {folder}. Check the path.")
    classes = sorted(each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))
    if len(classes) < 2:
        raise DataError(
            f"An image folder must hold a folder for each of two classes or more; {folder} has {_told(classes)}. Move "
            "the images of each class into a folder with its name."
        )
    of_classes = [_images_below(root, name) for name in classes]
    empty = [name for name, found in zip(classes, of_classes, strict=True) if not found]
    if empty:
        raise DataError(
            f"Every class must have images ({', '.join(FORMATS)}); {folder} has none in {_told(empty)}. Add some, or "
            "remove the folder."
        )
    names = np.array([os.fsencode(name) for found in of_classes for name in found])
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(found) for found in of_classes])
    return names, labels, classes


def _images_below(root: Path, name: str) -> list[str]:
    """Return the images of a class in Keras's order: by folder, then by name."""
    walked = sorted(os.walk(root / name), key=lambda step: step[0])
    return [
        os.path.relpath(os.path.join(folder, file), root)
        for folder, _, files in walked
        for file in sorted(files)
        if file.lower().endswith(FORMATS)
    ]


def _split(names: Any, labels: Any, share: float, seed: int) -> tuple[Any, Any, Any, Any]:
    """Shuffle by a seed, then split off the last ones, so that Keras's `validation_split` and `seed` give the same.

    Source: keras 3.15, `dataset_utils.index_directory` and `get_training_or_validation_split`.
    """
    if not 0 < share < 1:
        raise DataError(f"validation_split must lie between 0 and 1; got {share}. It is the share that validates.")
    n_val = int(share * len(labels))
    if not 0 < n_val < len(labels):
        raise DataError(f"Both parts must hold an image; got {len(labels)} images and validation_split={share}.")
    order = np.arange(len(labels))
    np.random.RandomState(seed).shuffle(order)
    train, validation = order[:-n_val], order[-n_val:]
    return names[train], labels[train], names[validation], labels[validation]


def _told(classes: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(classes[:most]) or "none"
    return f"{shown} and {len(classes) - most} more" if len(classes) > most else shown
