"""A digest of everything about an object that may end up in a compiled graph."""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tuning.loops.arrays import TrainingArrays, device_dtype
from tuning.loops.keras_private import UNLISTED_ATTRIBUTES, compile_arguments, every_layer
from tuning.loops.model_builder import LEARNING_RATE_NAMES

_LIBRARIES = ("keras.", "tensorflow.", "numpy.")


def digest_of(value: Any) -> str:
    """Return 32 hex digits, equal for two objects only if nothing that could be compiled into a graph differs.

    Walks plain values, containers, arrays, functions (their code and what they close over) and objects. Of Keras's
    own objects it takes the class, `get_config()` and every array they hold; of the user's classes also all other
    attributes. Variables count by shape and type, since their values are not compiled in. It is stable across
    processes. An object that hides state elsewhere, such as in a global, is beyond it.
    """
    digest = hashlib.blake2b(digest_size=16)
    for piece in _Walk().pieces(value):
        digest.update(piece)
        digest.update(b"\0")
    return digest.hexdigest()


def without_learning_rate(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Return an optimizer's config, less a constant learning rate, which is a variable and not compiled in."""
    config = dict(optimizer.get_config())
    if isinstance(config.get("learning_rate"), (int, float)):
        del config["learning_rate"]
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        config["inner_optimizer"] = without_learning_rate(inner)
    return {"class": _name(type(optimizer)), **config}


class _Walk:
    """One walk over an object and all that hangs on it; what was met before counts by its number."""

    def __init__(self) -> None:
        self._met: dict[int, int] = {}
        self._alive: list[Any] = []  # so that no id is used twice

    def pieces(self, value: Any) -> Iterator[bytes]:
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            yield f"{type(value).__name__}:{value!r}".encode()
        elif isinstance(value, (np.ndarray, np.generic)):
            yield from _array(np.asarray(value))
        elif isinstance(value, (keras.Variable, tf.Variable)):
            yield f"variable:{tuple(value.shape)}:{value.dtype}:{value.trainable}".encode()
        elif tf.is_tensor(value):
            # the value of a scalar of text is `bytes`
            yield from _array(np.asarray(value.numpy())) if hasattr(value, "numpy") else (repr(value).encode(),)
        elif id(value) in self._met:
            yield f"met:{self._met[id(value)]}".encode()
        else:
            self._met[id(value)] = len(self._met)
            self._alive.append(value)
            yield from self._parts(value)

    def _parts(self, value: Any) -> Iterator[bytes]:
        if isinstance(value, Mapping):
            yield f"mapping:{len(value)}".encode()
            for key, item in value.items():
                yield from self.pieces(key)
                yield from self.pieces(item)
        elif isinstance(value, (list, tuple, set, frozenset)):
            yield f"{type(value).__name__}:{len(value)}".encode()
            for item in value if isinstance(value, (list, tuple)) else sorted(value, key=repr):
                yield from self.pieces(item)
        elif isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType)):
            yield _name(value).encode()
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, types.MethodType):
            yield from self.pieces((value.__func__, value.__self__))
        elif isinstance(value, functools.partial):
            yield from self.pieces((value.func, value.args, value.keywords))
        else:
            yield from self._object(value)

    def _function(self, function: types.FunctionType) -> Iterator[bytes]:
        yield _name(function).encode()
        yield from _code(function.__code__)
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        yield from self.pieces((function.__defaults__, function.__kwdefaults__, cells))

    def _object(self, value: Any) -> Iterator[bytes]:
        yield _name(type(value)).encode()
        if isinstance(value, keras.optimizers.Optimizer):
            yield from self.pieces(without_learning_rate(value))
        elif callable(getattr(value, "get_config", None)):
            yield from self.pieces(_config(value))
        attributes = {name: item for name, item in getattr(value, "__dict__", {}).items() if name not in _bookkeeping()}
        if type(value).__module__.startswith(_LIBRARIES):
            attributes = {name: item for name, item in attributes.items() if _is_array(item)}
        for name, item in attributes.items():
            yield name.encode()
            yield from self.pieces(item)


def _code(code: types.CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code(constant)
        else:
            yield repr(constant).encode()


def _config(value: Any) -> Any:
    try:
        return value.get_config()
    except Exception as error:  # not serialisable: its attributes must do
        return f"no config: {type(error).__name__}"


@functools.cache
def _bookkeeping() -> frozenset[str]:
    """Return the attributes that Keras itself keeps on layers, models, losses, metrics and optimizers."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.zeros((1, 1)), np.zeros((1, 1)), verbose=0)
    objects = [model, model.layers[0], model.optimizer, keras.losses.MeanSquaredError(), keras.metrics.Mean()]
    return frozenset(name for item in objects for name in vars(item)) | UNLISTED_ATTRIBUTES


def _array(array: np.ndarray[Any, Any]) -> Iterator[bytes]:
    yield f"array:{array.dtype}:{array.shape}".encode()
    yield repr(array.tolist()).encode() if array.dtype == object else np.ascontiguousarray(array).tobytes()


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (tf.is_tensor(value) and not isinstance(value, keras.Variable))


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # a name that was never bound
        return False
    return True


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', getattr(value, '__name__', ''))}"


_SHORT = 16


def model_signature(
    model: keras.Model, hyperparameters: Mapping[str, Any], arrays: TrainingArrays, evaluation_batch_size: int
) -> str:
    """Return a short digest, equal only for models whose training compiles to the same program at a given batch size.

    It covers the architecture, what `compile` was given less a constant learning rate, the hyperparameters less the
    learning rate, and the shapes of the data; it leaves out the seed, the values of variables and the batch size.
    When in doubt it differs, and a program is compiled anew.
    """
    others = {name: value for name, value in hyperparameters.items() if name not in LEARNING_RATE_NAMES}
    compiled = {name: value for name, value in compile_arguments(model).items() if name != "optimizer"}
    layers = [(type(layer).__qualname__, layer.trainable, layer.dtype_policy.name) for layer in every_layer(model)]
    content = (
        every_layer(model),
        layers,
        model.optimizer,
        compiled,
        (model.jit_compile, model.run_eagerly),
        sorted(others.items()),
        keras.tree.map_structure(lambda leaf: (leaf.shape, str(device_dtype(leaf))), (arrays.train, arrays.validation)),
        evaluation_batch_size,
    )
    return digest_of(content)[:_SHORT]
