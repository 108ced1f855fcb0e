"""PythonCall: a function that TensorFlow cannot trace, as an operation of a tf.data pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search_spaces.data import DataError


def as_structure(value: Any) -> Any:
    """Return nested tuples and dicts: a list of arrays becomes a tuple, as in `Data`, any other list is one array."""
    if isinstance(value, Mapping):
        return {name: as_structure(part) for name, part in value.items()}
    if isinstance(value, tuple) or (isinstance(value, list) and value and all(map(_is_part, value))):
        return tuple(map(as_structure, value))
    return np.asarray(value) if isinstance(value, list) else value


def _is_part(value: Any) -> bool:
    return isinstance(value, (Mapping, tuple)) or (hasattr(value, "shape") and hasattr(value, "dtype"))


class PythonCall:
    """Calls a function with NumPy values, in the threads of the pipeline, which take turns while Python computes.

    Text arrives as `str`, numbers as NumPy's. The function is called once at construction, to learn what it returns.

    Args:
        function: Returns an array, or nested tuples and dicts of arrays.
        example: Arguments of a first call, nested arrays.
        open_shapes: Whether the returned arrays may differ in shape from call to call, not in rank.

    Raises:
        Exception: Whatever the function raises.
    """

    def __init__(self, function: Callable[..., Any], example: tuple[Any, ...], *, open_shapes: bool = False) -> None:
        self._function = function
        self._arguments = example
        self._open_shapes = open_shapes
        self.spec = tf.nest.map_structure(self._spec_of, self._called(example))

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function returns for some tensors, inside a graph."""
        specs = tf.nest.flatten(self.spec)
        outputs = tf.numpy_function(self._run, tf.nest.flatten(arguments), [spec.dtype for spec in specs])
        shaped = [tf.ensure_shape(output, spec.shape) for output, spec in zip(outputs, specs, strict=True)]
        return tf.nest.pack_sequence_as(self.spec, shaped)

    def _run(self, *flat: Any) -> list[Any]:
        found = self._called(tf.nest.pack_sequence_as(self._arguments, list(flat)))
        tf.nest.assert_same_structure(found, self.spec)
        return [
            _as_declared(leaf, spec)
            for leaf, spec in zip(tf.nest.flatten(found), tf.nest.flatten(self.spec), strict=True)
        ]

    def _called(self, arguments: Any) -> Any:
        return tf.nest.map_structure(np.asarray, as_structure(self._function(*_as_python(arguments))))

    def _spec_of(self, leaf: npt.NDArray[Any]) -> tf.TensorSpec:
        return tf.TensorSpec([None] * leaf.ndim if self._open_shapes else leaf.shape, tf.as_dtype(leaf.dtype))


def _as_declared(leaf: npt.NDArray[Any], spec: tf.TensorSpec) -> npt.NDArray[Any]:
    """Return an array in the type of the first call's."""
    if not spec.shape.is_compatible_with(leaf.shape):
        raise DataError(
            f"Examples must have one shape; got {leaf.shape} after {tuple(spec.shape)}. Resize, crop or pad them."
        )
    return leaf if spec.dtype == tf.string else leaf.astype(spec.dtype.as_numpy_dtype)


def _as_python(arguments: Any) -> Any:
    return tf.nest.map_structure(_value, arguments)


def _value(value: Any) -> Any:
    """Return a scalar as such, and TensorFlow's bytes as text."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray) and value.dtype == object:
        return np.array([_value(each) for each in value.ravel()]).reshape(value.shape)
    return value
