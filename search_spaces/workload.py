"""Workload: a model, its data and its goal; and finding one by name, module or file."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from search_spaces.batch_size import BatchSize
from search_spaces.data import Data, DataError, check_share
from search_spaces.datasets import is_dataset, is_py_dataset
from search_spaces.fit_data import read_fit_data
from search_spaces.learning_rate import LearningRate
from search_spaces.stream import Stream, TrainingData

BUILT_IN = {
    "digits": "search_spaces.digits:workload",
    "digits-cnn": "search_spaces.digits:cnn_workload",
    "images": "search_spaces.images:workload",
    "mnist": "search_spaces.mnist:workload",
    "series": "search_spaces.series:workload",
    "tabular": "search_spaces.tabular:workload",
    "text": "search_spaces.text:workload",
}
"""Ready-made workloads: name to `module:attribute`."""

FILE_MODULE_PREFIX = "_batch_size_workload_"
"""The beginning of the names of modules that are loaded from files: `tuning.py` must not replace the package `tuning`.
No process but this one knows such a name, so what is defined there travels by value."""


class WorkloadError(ValueError):
    """The workload cannot be loaded; the message is one line with the rule, the value and the way out."""


@dataclass(frozen=True)
class Description:
    """What `batch-size workloads` tells of a ready-made workload.

    Args:
        data: Where the data come from, how many there are, and what `--data` takes instead.
        model: The model's layers.
        space: What a grid tries by default.
        minutes: About how many minutes a default `grid` or `bayes` takes on two CPU cores.
    """

    data: str
    model: str
    space: str
    minutes: str


@dataclass(frozen=True)
class Workload:
    """What a study trains: a model, its data and its goal.

    Args:
        name: The short name, part of the default study name.
        build: `build(hp)` or `build()` returning a compiled `keras.Model`, or a `keras_tuner.HyperModel`.
        data: The function that returns the data, called once, in the driver: a `Data`, a `Stream`, a training and a
            validation dataset, or one dataset, `(x, y)` or `(x, y, sample_weight)` of which `validation_split` is
            taken; None if `--data` must bring them.
        objective: The name of the metric that decides, as Keras logs it; None for `val_accuracy`, else `val_loss`.
        epochs: Passes over the training set per trial.
        batch_size: Sizes to try; None for powers of 2 that suit the data.
        learning_rate: How the learning rate follows; None for the model's own by the optimizer's rule.
        description: What `batch-size workloads` tells, for those that are built in.
        read_file: The function that reads another data set of the same kind for `--data FILE`, and takes those of the
            options of `data_path.read_path` that suit it as keywords; by default that function, for archives, folders
            of images and tables.
        build_for: The `build` for the data of such a file; None where `build` suits them all.
        callbacks: Keras callbacks, or a function that returns them; every trial gets copies.
        class_weight: Weight of each class in the training loss.
        validation_batch_size: Examples per validation step; None for 256.
        validation_split: The share of the data that validates, where they have no validation part.
    """

    name: str
    build: Any
    data: Callable[[], Any] | None = None
    objective: str | None = None
    epochs: int = 5
    batch_size: BatchSize | None = None
    learning_rate: LearningRate | None = None
    description: Description | None = None
    read_file: Callable[..., Data] | None = None
    build_for: Callable[[Data], Any] | None = None
    callbacks: Any = ()
    class_weight: Mapping[int, float] | None = None
    validation_batch_size: int | None = None
    validation_split: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.build) and not hasattr(self.build, "build"):
            raise WorkloadError(f"build must be a function or a HyperModel; got {self.build!r}.")
        if isinstance(self.epochs, bool) or not isinstance(self.epochs, int) or self.epochs < 1:
            raise WorkloadError(f"epochs must be a whole number of at least 1; got {self.epochs!r}.")
        check_kinds(batch_size=self.batch_size, learning_rate=self.learning_rate)
        if self.validation_split is not None:
            check_share(self.validation_split)

    def load_data(self) -> TrainingData:
        """Return the workload's data.

        Raises:
            WorkloadError: If it has none of its own.
            DataError: If they are not usable.
        """
        if self.data is None:
            raise WorkloadError(
                f"{self.name} brings no data; give --data: an .npz archive with x_train, y_train, x_val and y_val, a "
                "folder of images, or a .csv or .parquet table."
            )
        found = _called(self.data, f"The data of {self.name}")
        if isinstance(found, Data | Stream) or is_dataset(found) or is_py_dataset(found):
            return self._read(found).checked()
        if not isinstance(found, tuple | list) or len(found) not in (2, 3):
            raise WorkloadError(
                f"The data of {self.name} must be a Data, a Stream, (x, y) or (x, y, sample_weight); got "
                f"{_kind(found)}."
            )
        return self._read(*found).checked()

    def _read(self, x: Any, y: Any = None, sample_weight: Any = None) -> TrainingData:
        if isinstance(x, Data | Stream):
            return x
        if is_dataset(x) and is_dataset(y):
            return read_fit_data(x, validation_data=y)
        if self.validation_split is None:
            raise WorkloadError(
                f"A batch size is judged on validation data; {self.name} brings none. Give a validation_split, or "
                "return a Data with a validation part."
            )
        return read_fit_data(x, y, sample_weight, validation_split=self.validation_split)

    def given_callbacks(self) -> tuple[Any, ...]:
        """Return the workload's callbacks.

        Raises:
            WorkloadError: If they are none.
        """
        given = self.callbacks
        found = _called(given, f"The callbacks of {self.name}") if callable(given) else given
        if not isinstance(found, tuple | list):
            raise WorkloadError(
                f"The callbacks of {self.name} must be a list of Keras callbacks, or a function that returns one; "
                f"got {_kind(found)}."
            )
        return tuple(found)

    def with_data_file(self, path: str, **options: Any) -> Workload:
        """Return the same workload on the data of a file or a folder, with no larger batch sizes than suit them.

        Args:
            path: Of the data.
            options: Of `data_path.read_path`, beside the workload's own validation split; None is left out.

        Raises:
            DataError: If there are no such data, or an option does not suit them.
            WorkloadError: If the workload reads its files without such an option.
        """
        from search_spaces.data_path import read_path

        read = self.read_file or read_path
        asked = {"validation_split": self.validation_split, **options}
        given = {name: value for name, value in asked.items() if value is not None}
        takes = inspect.signature(read).parameters
        for name in given:
            if name not in takes:
                told = name.replace("_", " ")
                raise WorkloadError(
                    f"{self.name} cannot read its files by a {told}; got {given[name]!r}. Leave it out."
                )
        data = read(path, **given)
        return replace(
            self,
            data=lambda: data,
            build=self.build_for(data) if self.build_for else self.build,
            batch_size=self.batch_size and self.batch_size.suiting(data.n_train),
        )


def check_kinds(*, batch_size: object, learning_rate: object) -> None:
    """Raise TypeError unless these are a `BatchSize` and a `LearningRate`, or None."""
    if not isinstance(batch_size, BatchSize | None):
        raise TypeError(
            f"batch_size must be a BatchSize; got {batch_size!r}. Write BatchSize(8, 512) or BatchSize.of(8, 32, 128)."
        )
    if not isinstance(learning_rate, LearningRate | None):
        raise TypeError(
            f"learning_rate must be a LearningRate; got {learning_rate!r}. Write LearningRate(0.001), right at batch "
            "size 32, or LearningRate.choices(0.001, 0.01)."
        )


def _called(function: Callable[[], Any], what: str) -> Any:
    """Return what a function of the user's returns; its errors are told in one line."""
    try:
        return function()
    except (DataError, WorkloadError):
        raise
    except (Exception, SystemExit) as error:
        raise WorkloadError(f"{what} must be returned; got {type(error).__name__}: {error}.") from error


def _kind(found: Any) -> str:
    if isinstance(found, tuple | list):
        return f"a {type(found).__name__} of {', '.join(type(each).__name__ for each in found[:5]) or 'nothing'}"
    return f"{found!r:.80}"


def load_workload(text: str) -> Workload:
    """Return a workload: a built-in name, `package.module:attribute`, or `path/file.py:attribute`.

    The attribute may be a `Workload`, a `keras_tuner.HyperModel`, or a build function.

    Raises:
        WorkloadError: If there is no such name, module, file or attribute, or importing it fails.
    """
    location, _, attribute = BUILT_IN.get(text, text).rpartition(":")
    if not location or not attribute:
        meant = difflib.get_close_matches(text, BUILT_IN, n=1)
        raise WorkloadError(
            f"A workload must be one of {', '.join(sorted(BUILT_IN))}, or package.module:attribute, "
            f"or path/file.py:attribute; got {text!r}.{f' Did you mean {meant[0]}?' if meant else ''}"
        )
    return as_workload(load_attribute(location, attribute), name=attribute if text not in BUILT_IN else text)


def load_attribute(location: str, attribute: str) -> Any:
    """Return what a module, or a file, calls so.

    Args:
        location: `package.module`, or `path/file.py`.
        attribute: The name there.

    Raises:
        WorkloadError: If there is no such module, file or attribute, or importing it fails.
    """
    module = _load_file(Path(location)) if location.endswith(".py") else _load_module(location)
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise WorkloadError(f"{location} has no attribute {attribute!r}; it has {', '.join(public[:20]) or 'none'}.")
    return getattr(module, attribute)


def as_workload(found: Any, *, name: str) -> Workload:
    """Return a `Workload` as it is, or one around a HyperModel (an instance or its class) or a build function.

    Raises:
        WorkloadError: If `found` is none of these.
    """
    if isinstance(found, Workload):
        return found
    if isinstance(found, type):
        found = _called(found, f"An instance of {name}")
    if callable(found) or hasattr(found, "build"):
        return Workload(name=name, build=found)
    raise WorkloadError(
        f"A workload must be a Workload, a HyperModel or a build function; {name} is {type(found).__name__}."
    )


def _load_module(name: str) -> ModuleType:
    _search_last(Path.cwd())  # a console script, unlike `python -m`, does not look in the working directory
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise WorkloadError(f"The module {name} must be importable; got {type(error).__name__}: {error}.") from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise WorkloadError(f"The workload file must exist; got {path}. Check the path.")
    name = FILE_MODULE_PREFIX + hashlib.blake2b(str(path.resolve()).encode(), digest_size=6).hexdigest()
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise WorkloadError(f"The workload file must be a Python file; got {path}.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    _search_last(path.parent.resolve())
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise WorkloadError(f"{path} must run without error; got {type(error).__name__}: {error}.") from error
    return module


def _search_last(directory: Path) -> None:
    """Let what lies in a directory be imported, unless the standard library or a package has that name."""
    if str(directory) not in sys.path:
        sys.path.append(str(directory))
