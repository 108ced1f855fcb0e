"""Data: the training and validation arrays of a workload, checked once, before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.archive import read_npz
from search_spaces.array_forms import read_arrays
from search_spaces.datasets import collect
from search_spaces.image_folder import read_image_folder
from search_spaces.loading import Load, takes_seed
from search_spaces.source import read_source
from search_spaces.structure import Arrays as Arrays
from search_spaces.structure import DataError as DataError
from search_spaces.structure import leaves as leaves
from search_spaces.structure import map_arrays as map_arrays
from search_spaces.values import check_values

_PARTS = ("x_train", "y_train", "x_val", "y_val", "sample_weight_train", "sample_weight_val")
_NPZ_NAMES = (*_PARTS, *(name.replace("_val", "_test") for name in _PARTS if name.endswith("_val")))


@dataclass(frozen=True)
class Data:
    """The arrays that every trial of a study trains and validates on, or the keys of examples that are loaded.

    With `load` the arrays hold keys, such as paths or record numbers, and every example is made of its keys when it is
    needed: `load(x, y, seed)` returns what a `tf.data` pipeline would give `fit`, `(x, y)` or `(x, y, sample_weight)`
    without a batch dimension. TensorFlow traces it where it can; otherwise it is called with NumPy values, in threads.

    Args:
        x_train: Inputs, the first axis running over examples: an array, or a dict, tuple or list of arrays.
        y_train: Targets, likewise; None where a model learns from inputs alone.
        x_val: Validation inputs.
        y_val: Validation targets; None where the training has none.
        sample_weight_train: One weight per training example (or a structure of them), or None.
        sample_weight_val: One weight per validation example (or a structure of them), or None.
        load: Makes one training example of its keys: `load(x, y)` or `load(x, y, seed)`, without `y` where there are no
            targets. `seed` is `(2,) int32`, not negative, as `tf.image.stateless_random_crop` and its kin take it; it
            follows from the trial's seed, the epoch and the row, and is the same at every batch size.
        load_val: Makes one validation example, likewise but without a seed; None for `load`.
        identity: What tells these data from others, such as "imagenet-64, 2nd edition", so that a search goes on with
            its study; empty for all values of small arrays, and for a sample of rows and the time of the file of large
            ones.

    Raises:
        DataError: If a part is empty, the lengths of a part differ, or validation examples would depend on a seed.
            Values are checked by `checked`.
    """

    x_train: Arrays
    y_train: Arrays
    x_val: Arrays
    y_val: Arrays
    sample_weight_train: Arrays = None
    sample_weight_val: Arrays = None
    load: Load | None = None
    load_val: Load | None = None
    identity: str = ""

    def __post_init__(self) -> None:
        for name in _PARTS:
            object.__setattr__(self, name, read_arrays(name, getattr(self, name)))
        _check_part("training", self.x_train, self.y_train, self.sample_weight_train)
        _check_part("validation", self.x_val, self.y_val, self.sample_weight_val)
        if (self.y_train is None) != (self.y_val is None):
            raise DataError("Either both parts have targets or neither has; got targets for one of them alone.")
        object.__setattr__(self, "load_val", _load_val(self.load, self.load_val, 1 if self.y_train is None else 2))

    def checked(self) -> Data:
        """These data, after a pass over every value.

        Raises:
            DataError: If a value is NaN or an array holds Python objects.
        """
        for name, part in self.parts().items():
            for leaf in leaves(part):
                check_values(name, leaf)
        return self

    @property
    def n_train(self) -> int:
        """Number of training examples."""
        return len(next(leaves(self.x_train)))

    @property
    def epoch_length(self) -> int:
        """Number of training examples after which a trial validates: all of them."""
        return self.n_train

    @property
    def n_val(self) -> int:
        """Number of validation examples."""
        return len(next(leaves(self.x_val)))

    @property
    def train(self) -> tuple[Arrays, ...]:
        """`(x,)`, `(x, y)` or `(x, y, sample_weight)`, as `fit` takes it of a dataset."""
        return _as_tuple(self.x_train, self.y_train, self.sample_weight_train)

    @property
    def validation(self) -> tuple[Arrays, ...]:
        """Likewise, of the validation part."""
        return _as_tuple(self.x_val, self.y_val, self.sample_weight_val)

    def parts(self) -> dict[str, Arrays]:
        """Every part by its argument's name, None where absent."""
        return {name: getattr(self, name) for name in _PARTS}

    @classmethod
    def split(cls, x: Arrays, y: Arrays, share: float, sample_weight: Arrays = None) -> Data:
        """Split examples as Keras's `validation_split` does: the last ones validate, before any shuffling.

        Args:
            x: Inputs.
            y: Targets, or None.
            share: The share of the examples that validates, between 0 and 1.
            sample_weight: One weight per example, or None.

        Raises:
            DataError: If the share is out of range, or leaves a part empty.
        """
        check_share(share)
        whole = cls(x, y, x, y, sample_weight)
        at = int(whole.n_train * (1 - share))
        parts = (whole.x_train, whole.y_train, whole.sample_weight_train)
        x, y, weight = (map_arrays(lambda array: array[:at], part) for part in parts)
        x_val, y_val, weight_val = (map_arrays(lambda array: array[at:], part) for part in parts)
        return cls(x, y, x_val, y_val, weight, weight_val)

    @classmethod
    def from_npz(cls, path: str | Path, validation_split: float | None = None) -> Data:
        """Read x_train, y_train and x_val, y_val (or x_test, y_test) from an `.npz` file.

        Args:
            path: The file.
            validation_split: The share of the training part that validates, where the file has no validation part.

        Raises:
            DataError: If the file is missing, is no npz, or lacks a part.
        """
        arrays, names = read_npz(Path(path), _NPZ_NAMES)
        renamed: dict[str, Any] = {name.replace("_test", "_val"): value for name, value in arrays.items()} | {
            name: value for name, value in arrays.items() if name.endswith("_val")
        }
        missing = [name for name in ("x_train", "y_train") if name not in renamed]
        if missing:
            raise DataError(
                f"An npz data file needs x_train and y_train; {path} has {names}. Save the missing {missing}."
            )
        if validation_split is not None and "x_val" not in renamed:
            return cls.split(
                renamed["x_train"], renamed["y_train"], validation_split, renamed.get("sample_weight_train")
            )
        if "x_val" not in renamed or "y_val" not in renamed:
            raise DataError(
                f"An npz data file needs a validation part, x_val and y_val (or x_test and y_test); "
                f"{path} has {names}. Save some examples under these names, or give a validation split."
            )
        parts: dict[str, Any] = {name: renamed[name] for name in _PARTS if name in renamed}
        return cls(**parts)

    @classmethod
    def from_tf_data(cls, train: Any, validation: Any, *, batched: bool | None = None) -> Data:
        """Collect two finite `tf.data.Dataset`s of `x`, `(x, y)` or `(x, y, sample_weight)` into arrays.

        Args:
            train: The training examples; `keras.utils.PyDataset`s are taken, too.
            validation: The validation examples.
            batched: Whether the elements are batches, which are then taken apart; None for what their making tells.

        Raises:
            DataError: As `search_spaces.datasets.collect`.
        """
        x, y, weight = collect("training", train, batched=batched)
        x_val, y_val, weight_val = collect("validation", validation, batched=batched)
        return cls(x, y, x_val, y_val, weight, weight_val)

    @classmethod
    def from_image_folder(
        cls,
        train_dir: str | Path,
        val_dir: str | Path | None = None,
        *,
        validation_split: float | None = None,
        image_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        augment: Callable[..., Any] | None = None,
        seed: int = 0,
        identity: str = "",
    ) -> Data:
        """Images from a folder with a folder for each class, decoded when they are needed, never held together.

        Images, labels and split are those of `keras.utils.image_dataset_from_directory` with the same arguments: images
        `(height, width, channels) float32` in 0..255, labels `int32` in alphabetical order of the classes.

        Args:
            train_dir: The folder to train on.
            val_dir: The folder to validate on, with the same classes; None for a part of the other one.
            validation_split: The share of `train_dir` that validates, drawn at random by `seed`.
            image_size: Height and width to which every image is resized.
            color_mode: "grayscale", "rgb" or "rgba".
            augment: `augment(image, seed)` changes a training image by chance, with `seed` for `tf.image.stateless_*`.
            seed: Draws the part that validates.
            identity: What tells these images from others; empty for their names and labels, so that a search goes on
                with its study also where an image was replaced by another one of its name.

        Raises:
            DataError: If a folder is missing or empty, or an argument cannot be honoured.
        """
        parts = read_image_folder(
            train_dir,
            val_dir,
            validation_split=validation_split,
            image_size=image_size,
            color_mode=color_mode,
            augment=augment,
            seed=seed,
        )
        return cls(**parts, identity=identity)

    @classmethod
    def from_source(
        cls,
        train: Any,
        validation: Any = None,
        *,
        validation_split: float | None = None,
        load: Load | None = None,
        load_val: Load | None = None,
        identity: str = "",
    ) -> Data:
        """Examples from anything with `__len__` and `__getitem__`, read when they are needed, never held together.

        Map-style datasets of PyTorch, Hugging Face and Grain are such sources. An item is `(x, y)`,
        `(x, y, sample_weight)`, or `x` alone, of arrays or what NumPy makes arrays of. Sources travel to the workers by
        pickling, memory maps in them by the names of their files, and are read there in several threads.

        Args:
            train: The source to train on.
            validation: The source to validate on; None for a part of the other one.
            validation_split: The share of the training source that validates, taken from its end.
            load: Makes an example of an item, perhaps with a seed: `load(item)`, `load(item, seed)`; the parts of an
                item that is a tuple come one by one, `load(x, y, seed)`. TensorFlow traces it where it can.
            load_val: Likewise for validation, without a seed; None for `load`.
            identity: What tells these items from others, such as "imagenet-64, 2nd edition"; empty for their number
                alone.

        Raises:
            DataError: If a source is empty, or gives no single examples.
        """
        parts = read_source(train, validation, validation_split=validation_split, load=load, load_val=load_val)
        return cls(**parts, identity=identity)


def check_share(share: float) -> None:
    """Raise DataError unless a share of the data may validate."""
    if not 0 < share < 1:
        raise DataError(f"validation_split must lie between 0 and 1; got {share}. It is the share that validates.")


def _as_tuple(x: Arrays, y: Arrays, sample_weight: Arrays) -> tuple[Arrays, ...]:
    if y is None:
        return (x,)
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def _load_val(load: Load | None, load_val: Load | None, n_keys: int) -> Load | None:
    """Return what makes validation examples: they must be the same ones in every epoch."""
    for name, given in (("load", load), ("load_val", load_val)):
        if given is not None and not callable(given):
            raise DataError(f"{name} must be a function that makes one example of its keys; got {given!r:.60}.")
    if load is None:
        if load_val is not None:
            raise DataError("load_val makes validation examples beside load; got load_val alone. Give load, too.")
        return None
    found = load if load_val is None else load_val
    if takes_seed(found, n_keys):
        name = "load" if load_val is None else "load_val"
        raise DataError(
            f"Validation examples must not depend on a seed; got {name} with one. Give a load_val that takes none, "
            "without the augmentation."
        )
    return found


def _check_part(part: str, x: Arrays, y: Arrays, sample_weight: Arrays) -> None:
    named = [("x", leaf) for leaf in leaves(x)] + [("y", leaf) for leaf in leaves(y)]
    named += [("sample_weight", leaf) for leaf in leaves(sample_weight)]
    if not any(name == "x" for name, _ in named):
        raise DataError(f"The {part} part needs at least one input array; got none.")
    lengths = [(name, len(leaf) if leaf.ndim else 0) for name, leaf in named]
    if len({length for _, length in lengths}) > 1:
        told = ", ".join(f"{name}: {length}" for name, length in lengths[:8]) + (", …" if len(lengths) > 8 else "")
        if isinstance(x, list) and len(x) == lengths[-1][1]:
            raise DataError(f"A list of arrays is a list of inputs; got {told}. Stack examples: np.stack(x).")
        raise DataError(f"The {part} arrays must have the same number of examples; got {told}. Trim or pair them.")
    if lengths[0][1] == 0:
        raise DataError(f"The {part} part must hold at least one example; got none.")
    if y is None and sample_weight is not None:
        raise DataError(f"Sample weights weigh a loss on targets; the {part} part has weights and no targets.")
