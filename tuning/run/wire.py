"""What passes between a driver and its worker process, apart from requests and events."""

from __future__ import annotations

import functools
import pickle
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cloudpickle
import numpy as np

from search_spaces.array_files import LEAST_BYTES_IN_PLACE, FileRegion, region_of
from search_spaces.data import Data, leaves, map_arrays
from search_spaces.loading import Load, Reading
from search_spaces.stream import Stream, TrainingData
from search_spaces.workload import FILE_MODULE_PREFIX
from tuning.full_disk import full_disk_error
from tuning.run.executor import WorkerSetup
from tuning.run.pickler import dumps

STOP = "stop"
"""The first half of `(STOP, trial_id)`, which asks a worker to stop a trial at its next epoch."""


@dataclass(frozen=True)
class Hello:
    """The first message to a worker, which answers with its `Device` or a `Refusal`, and imports TensorFlow.

    Args:
        device: The name of the device on which the worker sits.
        import_path: The driver's `sys.path`.
        memory_limit_bytes: The user's limit for this worker, None for none.
        sharing: The number of workers that share this one's CPU.
        holds_memory: Whether the worker is ended where it exceeds the memory that it told, also without a user's limit.
    """

    device: str
    import_path: list[str]
    memory_limit_bytes: int | None = None
    sharing: int = 1
    holds_memory: bool = False


@dataclass(frozen=True)
class Brief:
    """The second message to a worker: what it is to train. The driver may find out while the worker starts.

    Args:
        import_path: The driver's `sys.path` by now, so that the user's modules are found.
        payload: What `pickle_setup` returns, opened only when TensorFlow is configured.
        data_directory: Where the arrays are.
        weights_directory: Where the final weights of trials go, None if none are kept.
    """

    import_path: list[str]
    payload: bytes
    data_directory: Path
    weights_directory: Path | None = None


@dataclass(frozen=True)
class Refusal:
    """The answer of a worker that cannot work on its device.

    Args:
        reason: Why, in one line for people.
        lacks_gpu: Whether TensorFlow does not see the GPU that the worker was given.
    """

    reason: str
    lacks_gpu: bool = False


_STRUCTURE = "structure.pickle"


class HasParts(Protocol):
    """What holds arrays by part, such as training data."""

    def parts(self) -> Mapping[str, Any]:
        """Return them."""


def write_data(data: HasParts, directory: Path, *, in_place: bool = False) -> None:
    """Write every array to `directory` as `.npy`, and how they nest beside them.

    Args:
        data: What trials train on.
        directory: Made if it is not there.
        in_place: Whether large arrays that lie in files stay there, because who reads them sees the same files.

    Raises:
        OSError: If there is no room for them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _check_room(data, directory, in_place=in_place)
    names = (f"{number}.npy" for number in range(10**9))

    def write(array: np.ndarray[Any, Any]) -> str | FileRegion:
        region = _region_of(array, in_place=in_place)
        if region is not None:
            return region
        name = next(names)
        if array.dtype == object:  # strings of any length, which a file of equal cells would blow up
            name = f"{name}.pickle"
            (directory / name).write_bytes(pickle.dumps(array))
        else:
            np.save(directory / name, array, allow_pickle=False)
        return name

    structure = {part: map_arrays(write, arrays) for part, arrays in data.parts().items()}
    (directory / _STRUCTURE).write_bytes(pickle.dumps(structure))


def _region_of(array: np.ndarray[Any, Any], *, in_place: bool) -> FileRegion | None:
    """Return where an array lies that stays in its file; None for one that is copied."""
    return region_of(array) if in_place and array.nbytes >= LEAST_BYTES_IN_PLACE else None


def _check_room(data: HasParts, directory: Path, *, in_place: bool) -> None:
    """Refuse to fill a disk: NumPy itself would only say how many bytes it could not write."""
    arrays = [leaf for part in data.parts().values() for leaf in leaves(part)]
    needed = sum(array.nbytes for array in arrays if _region_of(array, in_place=in_place) is None)
    if needed > shutil.disk_usage(directory).free:
        way_out = f"free {needed / 1e6:.0f} MB there for a copy of the data, or set TMPDIR to a folder that has them"
        raise full_disk_error(directory, way_out)


def read_data(directory: Path, loads: tuple[Load | None, Load | None] = (None, None)) -> Data:
    """Return the data that `write_data` wrote, as read-only memory maps, with what makes examples of them."""
    structure = pickle.loads((directory / _STRUCTURE).read_bytes())

    def read(name: str | FileRegion) -> np.ndarray[Any, Any]:
        if isinstance(name, FileRegion):
            return name.open()
        loaded: np.ndarray[Any, Any] = (
            pickle.loads((directory / name).read_bytes())
            if name.endswith(".pickle")
            else np.load(directory / name, mmap_mode="r")
        )
        return loaded

    load, load_val = loads
    parts = {part: map_arrays(read, names) for part, names in structure.items()}
    return Data(**parts, load=load, load_val=load_val)


def pickle_setup(setup: WorkerSetup, *, with_neighbours: bool = False) -> bytes:
    """Return the pickled `(hypermodel, callbacks, fit_options, source, custom_objects)` of a setup.

    `source` is the stream that is trained on, else the functions that make training and validation examples of their
    keys, or two Nones, as `read_data` takes them. The last are what
    the user has registered with Keras by `register_keras_serializable`, without which a worker could not load a saved
    model that has them.

    What lives in the user's script, notebook or loose file, which a worker cannot import or would import under another
    name, travels by value. Packages are imported there.

    Args:
        setup: What every worker needs once.
        with_neighbours: Whether the modules that lie beside the build function and are loaded travel by value, too, for
            a machine that does not have the folder.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith(FILE_MODULE_PREFIX):
            cloudpickle.register_pickle_by_value(module)
    custom = _custom_objects()
    data = setup.data
    source = data if isinstance(data, Stream) else (data.load, data.load_val)
    for part in (setup.hypermodel, *setup.callbacks, *_functions_of(data), *custom.values()):
        _register_by_value(part)
    if with_neighbours:
        _register_neighbours(setup.hypermodel)
    content = (setup.hypermodel, list(setup.callbacks), dict(setup.fit_options), source, custom)
    return dumps(content)


def _functions_of(data: TrainingData) -> Iterator[Any]:
    """Yield the functions and the objects behind what makes examples."""
    if isinstance(data, Stream):
        for make in (data.train, data.validation):
            yield from (make, *filter(None, (getattr(make, "parse", None),)))
        return
    for load in (data.load, data.load_val):
        if isinstance(load, Reading):
            yield from (part for part in (getattr(load.read, "__self__", load.read), load.then) if part is not None)
        elif load is not None:
            yield load


def _custom_objects() -> dict[str, Any]:
    """Return what the user has registered with Keras, by its registered name; nothing if Keras was never imported."""
    keras = sys.modules.get("keras")
    if keras is None:
        return {}
    registered: dict[str, Any] = dict(keras.saving.get_custom_objects())
    own = ("keras", "keras_tuner", "tuning")
    return {name: item for name, item in registered.items() if item.__module__.partition(".")[0] not in own}


def _register_by_value(part: Any) -> None:
    """Mark the loose top-level module of a part, such as one beside a notebook, to travel by value."""
    name = _module_of(part)
    path = getattr(sys.modules.get(name), "__file__", None)
    if path and _is_loose(name, Path(path)):
        cloudpickle.register_pickle_by_value(sys.modules[name])


def _register_neighbours(part: Any) -> None:
    """Mark what is loaded from the folder of a part's module to travel by value; what is installed is not of that."""
    own = getattr(sys.modules.get(_module_of(part)), "__file__", None)
    if own is None or Path(own).is_relative_to(sys.prefix):
        return
    folder = Path(own).resolve().parent
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        is_ours = name.partition(".")[0] in ("tuning", "search_spaces", "__main__")
        if path is None or is_ours or Path(path).is_relative_to(sys.prefix):
            continue
        if Path(path).resolve().is_relative_to(folder):
            cloudpickle.register_pickle_by_value(module)


def _module_of(part: Any) -> str:
    """Return the name of the module that a function, or the class of an object, comes from."""
    while isinstance(part, functools.partial):
        part = part.func
    return str(part.__module__ if hasattr(part, "__qualname__") else type(part).__module__)


def _is_loose(name: str, path: Path) -> bool:
    """Return whether a module is neither part of a package nor installed with this Python."""
    own = name == "__main__" or name in sys.stdlib_module_names  # cloudpickle sees to the first by itself
    return not own and "." not in name and not path.is_relative_to(sys.prefix)
