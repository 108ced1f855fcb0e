"""Array forms: what people hand over for one array (tensors, frames, sparse matrices, lists), read or refused by name.

Nothing is ever iterated whose length is not known: NumPy reads an object with `__getitem__` until memory is gone.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from search_spaces.columns import is_pandas, read_pandas
from search_spaces.structure import Arrays, DataError, one_line, told_bytes, type_name

MOST_BYTES = 2**30
"""What is read into memory as an array, because it lies elsewhere or in another form, takes at most so much."""

IN_PLACE = "a .npy file (numpy.lib.format.open_memmap writes one in blocks) and hand over np.load(path, mmap_mode='r')"

_IN_MEMORY = frozenset({"tensorflow", "keras", "torch", "jax", "jaxlib", "numpy"})
"""Packages whose arrays lie in memory already, so that reading one as NumPy's takes no more of it."""


def read_arrays(name: str, given: Any) -> Arrays:
    """Return what was handed over as NumPy arrays, in the structure in which it was handed over.

    Args:
        name: Its name, for errors.
        given: An array or a form of one, or a dict, tuple or list of these; a list of numbers is one array. None stays.

    Raises:
        DataError: If a leaf is no array and cannot be made one, or not within `MOST_BYTES`.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return {key: read_arrays(f"{name}[{key!r}]", value) for key, value in given.items()}
    if isinstance(given, tuple):
        return tuple(read_arrays(f"{name}[{index}]", value) for index, value in enumerate(given))
    if isinstance(given, list):
        given = _items(given)
        if given and all(map(_is_input, given)):
            return [read_arrays(f"{name}[{index}]", value) for index, value in enumerate(given)]
    return read_array(name, given)


def read_array(name: str, given: Any) -> np.ndarray[Any, Any]:
    """Return one array as NumPy's; a memory map stays one.

    Raises:
        DataError: As `read_arrays`.
    """
    if isinstance(given, np.ndarray):
        return _plain(name, given)
    if is_pandas(given):
        return _plain(name, read_pandas(name, given))
    if isinstance(given, (list, range)):
        return _plain(name, _of_numbers(name, given))
    kind, package = type(given).__name__, type(given).__module__.partition(".")[0]
    if package == "tensorflow" and kind == "RaggedTensor":
        raise DataError(f"{name} must have examples of one shape; got a RaggedTensor. Pad it: {name}.to_tensor().")
    if package == "scipy" and hasattr(given, "toarray"):
        return _dense(name, given.shape, given.dtype, given.toarray)
    if package == "tensorflow" and kind == "SparseTensor":
        return _dense(name, given.shape, given.dtype.as_numpy_dtype, lambda: _dense_tensor(given))
    if hasattr(given, "__array__") or isinstance(given, (memoryview, bytearray, array, np.generic)):
        return _plain(name, _by_protocol(name, given, package))
    raise DataError(_refusal(name, given))


def _items(given: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Return what a list or a tuple holds, not what iterating over a class of one's own would yield."""
    return list.copy(given) if isinstance(given, list) else list(tuple.__iter__(given))


def _is_input(given: Any) -> bool:
    """Whether an element of a list is an input of its own, as Keras reads it, rather than a number or a row."""
    return isinstance(given, Mapping) or (len(getattr(given, "shape", ())) > 0)


def _plain(name: str, found: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array of a type that TensorFlow has, with an axis over examples."""
    if found.ndim == 0:
        raise DataError(
            f"{name} must be an array whose first axis runs over the examples; got {found!r:.60}. A tuple stands for "
            "several arrays; make it one with np.array(...)."
        )
    if isinstance(found, np.ma.MaskedArray):
        masked = int(np.sum(np.ma.getmaskarray(found)))
        if masked:
            raise DataError(f"{name} must have no masked values; got {masked}. Fill them in: .filled(value).")
        found = found.data
    if not isinstance(found, np.memmap):
        found = np.asarray(found)
    return _of_known_type(name, found)


def _of_known_type(name: str, found: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if found.dtype.kind in "mM":
        raise DataError(
            f"{name} must hold numbers or strings; got dtype {found.dtype}. Turn times into numbers, such as "
            "(x - x.min()) / np.timedelta64(1, 'D')."
        )
    if found.dtype.names:
        raise DataError(
            f"{name} must hold one type; got the fields {', '.join(found.dtype.names)[:80]}. Hand over a dict, "
            "{field: x[field] for field in x.dtype.names}."
        )
    if found.dtype.type is np.void:
        raise DataError(f"{name} must hold numbers or strings; got dtype {found.dtype}. View the bytes as numbers.")
    if found.dtype.type.__module__ == "ml_dtypes":  # bfloat16 and its kin, in which Keras trains by its own float type
        return found.astype(np.float32)
    return found.astype(object) if found.dtype.kind == "T" else found  # NumPy's strings of any length


def _of_numbers(name: str, given: list[Any] | range) -> np.ndarray[Any, Any]:
    """Return the array of a list of numbers or strings, or of lists of these."""
    if isinstance(given, range):
        _check_bytes(name, 8 * len(given), "a range of numbers")
        return np.asarray(given)
    stranger = next(_strangers(given), None)
    if stranger is not None:
        raise DataError(
            f"{name} must hold numbers or strings; got a list with {type_name(stranger)} in it. Make it a NumPy array."
        )
    try:
        return np.array(given)
    except ValueError:  # inhomogeneous
        raise DataError(
            f"{name} must have examples of one shape; got a list of lists of different lengths. Pad them, for example "
            "with keras.utils.pad_sequences."
        ) from None


def _strangers(given: Any) -> Iterator[Any]:
    """Yield what NumPy would look into for more without knowing where it ends, or keep as an object."""
    for kind in set(map(type, given)):
        if issubclass(kind, (list, tuple)):
            for value in given:
                if type(value) is kind:
                    yield from _strangers(_items(value))
        elif not issubclass(kind, (bool, int, float, complex, str, bytes, np.generic, np.ndarray)):
            other = next(value for value in given if type(value) is kind)
            if getattr(other, "shape", None) != ():  # a tensor that is a number
                yield other


def _dense(name: str, shape: Any, dtype: Any, convert: Any) -> np.ndarray[Any, Any]:
    size = int(np.prod([int(length) for length in shape], dtype=object)) * np.dtype(dtype).itemsize
    _check_bytes(name, size, "a sparse matrix that is trained on as a dense one")
    return np.asarray(convert())


def _dense_tensor(given: Any) -> Any:
    import tensorflow as tf

    return tf.sparse.to_dense(tf.sparse.reorder(given)).numpy()


def _by_protocol(name: str, given: Any, package: str) -> np.ndarray[Any, Any]:
    shape, dtype = getattr(given, "shape", None), getattr(given, "dtype", None)
    if package not in _IN_MEMORY and isinstance(shape, tuple) and isinstance(dtype, np.dtype):
        _check_bytes(name, int(np.prod(shape, dtype=object)) * dtype.itemsize, f"a {type_name(given)}")
    try:
        return np.asarray(given)
    except Exception as error:
        raise DataError(
            f"{name} must be readable as a NumPy array; reading the {type_name(given)} raised {one_line(error)} "
            "Hand over what .numpy() or np.asarray gives."
        ) from None


def _check_bytes(name: str, size: int, told: str) -> None:
    if size > MOST_BYTES:
        raise DataError(
            f"{name} is read into memory, which may take {told_bytes(MOST_BYTES)}; got {told}, {told_bytes(size)}. "
            f"Write it to {IN_PLACE}."
        )


def _refusal(name: str, given: Any) -> str:
    if isinstance(given, (str, bytes, PurePath)):
        return f"{name} must be an array; got {given!r:.60}. Read the file: Data.from_npz(path), or np.load(path)."
    told = type_name(given)
    if hasattr(given, "element_spec") and not hasattr(given, "__next__"):
        return f"{name} must be an array; got a dataset. Hand over datasets whole: search(train, validation_data=val)."
    if hasattr(given, "__next__"):
        return (
            f"{name} must have a length and be read as often as needed; got an iterator ({told}), which may never end. "
            "Collect what it yields into arrays, np.stack(list(...)), if it ends; else hand over a Stream."
        )
    if hasattr(given, "__getitem__") or hasattr(given, "__iter__"):
        return (
            f"{name} must be an array; got a sequence of its own kind ({told}), which may never end. If it gives "
            "the example of a number, hand over Data.from_source(train, validation)."
        )
    return f"{name} must be an array, or a dict, tuple or list of arrays; got {told}."
