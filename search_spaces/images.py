"""Images from an `.npz` archive, as the image workloads take them."""

from __future__ import annotations

from dataclasses import replace

from search_spaces.data import Data, DataError


def read_images(path: str) -> Data:
    """Images and labels from an `.npz` archive; whole numbers are taken to be grey values in 0..255 and become 0..1.

    Raises:
        DataError: If the archive cannot be read or lacks a part.
    """
    return scaled(Data.from_npz(path))


def read_classified_images(path: str) -> Data:
    """As `read_images`, with an axis of channels, `(n, height, width, channels)`, and labels that count from 0.

    Raises:
        DataError: Also if the images are no images or the labels are not classes.
    """
    data = read_images(path)
    for name, images in (("x_train", data.x_train), ("x_val", data.x_val)):
        if images.ndim not in (3, 4) or min(images.shape[1:3]) < 4:
            raise DataError(
                f"{name} must hold images of at least 4x4, (n, height, width) or (n, height, width, channels); "
                f"{path} has shape {images.shape}. Reshape it."
            )
    for name, labels in (("y_train", data.y_train), ("y_val", data.y_val)):
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise DataError(
                f"{name} must hold a class for each image, a whole number from 0; "
                f"{path} has {labels.dtype} of shape {labels.shape}. Encode the labels."
            )
    if data.x_train.ndim == 4:
        return data
    return replace(data, x_train=data.x_train[..., None], x_val=data.x_val[..., None])


def number_of_classes(data: Data) -> int:
    """One more than the largest label of either part."""
    return int(max(data.y_train.max(), data.y_val.max())) + 1


def scaled(data: Data) -> Data:
    """Whole numbers from 0..255 as `float32` in 0..1; other images as they are."""
    if data.x_train.dtype.kind not in "iu":
        return data
    return replace(data, x_train=(data.x_train / 255).astype("float32"), x_val=(data.x_val / 255).astype("float32"))
