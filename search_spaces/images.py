"""images: a small network on a folder of pictures, decoded and augmented while it trains.

The folder is made of scikit-learn's digits when it is first asked for, and kept in the user's cache.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from search_spaces.batch_size import BatchSize
from search_spaces.data import Data
from search_spaces.data_path import PARTS, read_folder
from search_spaces.digits import load_digits
from search_spaces.files import number_of_classes
from search_spaces.image_folder import ImageReader
from search_spaces.workload import Description, Workload

_SIZE = (16, 16)  # of pictures of 8x8, so that they are resized, too
_SIZE_OF_OTHERS = (64, 64)
_SPLIT_OF_OTHERS = 0.2
_SHIFT = 0.125  # of height and width


def build_model(shape: tuple[int, ...] = (*_SIZE, 1), classes: int = 10) -> Any:
    """Two 3x3 convolutions with pooling and a softmax, on values in 0..255; Adam at 1e-3."""
    import keras

    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def shifted(image: Any, seed: Any) -> Any:
    """Return an image that is moved by up to an eighth of its height and width, at random by its seed."""
    import tensorflow as tf

    height, width, channels = image.shape
    rows, columns = int(_SHIFT * height), int(_SHIFT * width)
    padded = tf.pad(image, [[rows, rows], [columns, columns], [0, 0]])
    return tf.image.stateless_random_crop(padded, (height, width, channels), seed)


def load_pictures() -> Data:
    """1,437 training and 360 validation pictures of digits, `(16, 16, 1) float32` in 0..255, each from its file."""
    return read_folder(str(digits_folder()), image_size=_SIZE, color_mode="grayscale", augment=shifted)


def digits_folder() -> Path:
    """Return the folder of scikit-learn's digits as pictures of 8x8, which is written where it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batch-size-tuner"
    folder = cache / "digits-png"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        written = Path(tempfile.mkdtemp(dir=cache))
        _write_pictures(written)
        try:
            written.rename(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(written)
    return folder


def _write_pictures(folder: Path) -> None:
    from PIL import Image

    data = load_digits()
    for part, (x, y) in zip(PARTS, (data.train, data.validation), strict=True):
        for number, (values, label) in enumerate(zip(x, y, strict=True)):
            path = folder / part / str(label) / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((values.reshape(8, 8) * 255).astype("uint8")).save(path)


def read_pictures(
    path: str, *, image_size: tuple[int, int] | None = None, validation_split: float | None = None
) -> Data:
    """Another folder of images, in colour: with the folders `train` and `val`, or split at random.

    Args:
        path: The folder.
        image_size: Height and width to which images are resized; None for 64 by 64.
        validation_split: The share that validates where there is no such folder; None for a fifth.

    Raises:
        DataError: As `Data.from_image_folder`.
    """
    has_parts = all((Path(path) / part).is_dir() for part in PARTS)
    share = _SPLIT_OF_OTHERS if validation_split is None and not has_parts else validation_split
    return read_folder(path, image_size=image_size or _SIZE_OF_OTHERS, augment=shifted, validation_split=share)


def build_for(data: Data) -> Any:
    """The same network for images of another size, with other classes."""
    read = data.load_val
    assert isinstance(read, ImageReader)
    return partial(build_model, shape=read.shape, classes=number_of_classes(data))


workload = Workload(
    name="images",
    build=build_model,
    build_for=build_for,
    data=load_pictures,
    objective="val_accuracy",
    epochs=5,
    batch_size=BatchSize(8, 128),
    read_file=read_pictures,
    description=Description(
        data="digits as PNG files: 1,437 + 360 images, or a folder",
        model="two convolutions",
        space="batch 8 to 128",
        minutes="2",
    ),
)
