"""Loader: makes examples of their keys in a tf.data pipeline, by a function of the user's."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search_spaces.data import DataError
from search_spaces.loading import Load, Reading, call
from tuning.loops.class_weights import ClassWeights
from tuning.loops.failures import one_line, status_of_error
from tuning.loops.python_call import PythonCall, as_structure
from tuning.trial import Status

Element = tuple[Any, ...]
"""`(x,)`, `(x, y)` or `(x, y, sample_weight)`: nested tuples and dicts of tensors or arrays."""


_WITHIN_PIPELINE = re.compile(r"transformation with iterator: \S+: (.+?)(?:\[\[|Traceback|$)", re.DOTALL)


class Loader:
    """Makes examples of their keys, one by one in a tf.data pipeline, in parallel and in their order.

    TensorFlow traces the function, as `tf.data.Dataset.map` does. One that it cannot trace is called in TensorFlow's
    threads, with NumPy values. Floats take Keras's float type, as those of arrays do.

    Args:
        load: The user's function, see `search_spaces.Data`.
        keys: Those of the first few examples: `(x,)`, `(x, y)` or `(x, y, sample_weight)`, nested arrays, first axis
            over examples. A weight is passed on beside what is loaded.
        class_weight: Weight of each class in the training loss, or None.
        name: What to call the function in an error.

    Raises:
        DataError: If the function makes no example of the first key, or one that cannot be batched.
    """

    def __init__(
        self, load: Load, keys: Element, *, class_weight: Mapping[int, float] | None = None, name: str = "load"
    ) -> None:
        self.again = functools.partial(Loader, load, keys, class_weight=class_weight, name=name)
        self._load, self._name = load, name
        self._keys = keys
        self.python_reason = ""
        self._call, self.spec = self._traced_or_called()
        self._check_spec()
        if not all(each.shape.is_fully_defined() for each in tf.nest.flatten(self.spec)):
            self.spec = self._spec_of_first()
        weigh = functools.partial(ClassWeights, spec=self.spec, has_weights=len(keys) == 3)
        self._weighted = None if class_weight is None else weigh(class_weight)
        self._load_batch = tf.function(self._batch_of, reduce_retracing=True)

    @property
    def is_traced(self) -> bool:
        """Whether TensorFlow does all of the work; otherwise `python_reason` says why Python does."""
        return not self.python_reason

    def batches(self, keyed: tf.data.Dataset, size: Any, *, drop_remainder: bool) -> tf.data.Dataset:
        """Return the batches of a dataset of `(keys, seed)`, one pair per example."""
        examples = keyed.map(self._example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        batches = examples.batch(size, drop_remainder=drop_remainder)
        return batches if self._weighted is None else batches.map(self._weighted)

    def examples(self, keys: Element, seeds: npt.NDArray[np.int32]) -> Element:
        """Return the examples of some keys as NumPy arrays.

        Args:
            keys: Nested arrays as those of the construction.
            seeds: `(n, 2) int32`, one for each.

        Raises:
            DataError: If the function raises, or makes examples of several shapes.
        """
        try:
            found: Element = tf.nest.map_structure(lambda leaf: leaf.numpy(), self._load_batch(keys, seeds))
        except Exception as error:
            raise self._refusal(error) from error
        return found

    def refuse_chance(self, seeds: npt.NDArray[np.int32]) -> None:
        """Make the first examples twice, by two traces of the function, and look for random operations in the first.

        Where TensorFlow has a global seed, such operations draw alike in both traces, but not in parallel.

        Args:
            seeds: `(n, 2) int32` for the first n keys.

        Raises:
            DataError: If they differ: what is random would depend on the batch size, or be frozen by the trace.
        """
        keys = tf.nest.map_structure(lambda leaf: leaf[: len(seeds)], self._keys)
        both = (tf.nest.flatten(loader.examples(keys, seeds)) for loader in (self, self.again()))
        differ = any(
            not np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
            for first, second in zip(*both, strict=True)
        )
        if differ or _draws_by_itself(self._load_batch.get_concrete_function(keys, seeds)):
            raise DataError(
                f"{self._name} must make the same example of the same keys and seed; this one draws by chance. Draw "
                "from seed, as tf.image.stateless_random_crop and numpy.random.default_rng do; Keras's random layers "
                "belong into the model."
            )

    def _traced_or_called(self) -> tuple[Callable[..., Any], Element]:
        """Return the function as the pipeline calls it, and what it makes: nested specs."""
        example, load = self._first, self._load
        if isinstance(load, Reading):
            self.python_reason = "a source is read by Python"
        try:
            function: Callable[..., Any] = _read_then_traced(load, example) if isinstance(load, Reading) else _of(load)
            return function, self._trace(function, example)
        except Exception as error:
            if status_of_error(error)[0] is Status.OUT_OF_MEMORY:
                raise
            untraceable = error
        self.python_reason = f"TensorFlow cannot trace {self._name} ({in_short(untraceable)})"
        try:
            called = PythonCall(_of(load), example)
        except Exception as error:
            raise self._refusal(error, untraceable) from error
        return called, self._trace(called, example)

    @property
    def _first(self) -> tuple[Any, Any]:
        """The keys of the first example, without weights, and a seed."""
        return tf.nest.map_structure(lambda leaf: np.asarray(leaf[0]), self._keys[:2]), np.zeros(2, np.int32)

    def _trace(self, function: Callable[..., Any], example: tuple[Any, Any]) -> Any:
        dataset = tf.data.Dataset.from_tensors(example)
        return dataset.map(lambda keys, seed: as_element(function(keys, seed))).element_spec

    def _check_spec(self) -> None:
        keys, parts = len(self._keys), len(self.spec)
        if not min(2, keys) <= parts <= (2 if keys == 3 else 3):
            wanted = {1: "x, (x, y) or (x, y, sample_weight)", 2: "(x, y) or (x, y, sample_weight)", 3: "(x, y)"}[keys]
            raise DataError(
                f"{self._name} must return {wanted}; got {parts} parts. Several inputs go into a dict within."
            )
        for each in tf.nest.flatten(self.spec):
            if not isinstance(each, tf.TensorSpec):
                raise DataError(
                    f"{self._name} must make dense tensors, which can be batched; got {type(each).__name__}. Pad them."
                )

    def _spec_of_first(self) -> Element:
        """Return the shapes and types of the first example, where tracing leaves sizes open."""
        keys = tf.nest.map_structure(lambda leaf: np.asarray(leaf[:1]), self._keys)
        keyed = tf.data.Dataset.from_tensor_slices((keys, np.zeros((1, 2), np.int32)))
        try:
            first = keyed.map(self._example).get_single_element()
        except Exception as error:
            raise self._refusal(error) from error
        parts = first[: len(self.spec)]
        return tuple(tf.nest.map_structure(lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), part) for part in parts)

    def _example(self, keys: Element, seed: tf.Tensor) -> Element:
        """Return one example of its keys, inside a graph; a weight among the keys stands beside it."""
        loaded = as_element(self._call(keys[:2], seed))
        found: Element = tf.nest.map_structure(lambda leaf, spec: tf.ensure_shape(leaf, spec.shape), loaded, self.spec)
        return (*found, *keys[2:])

    def _batch_of(self, keys: Element, seeds: tf.Tensor) -> Any:
        keyed = tf.data.Dataset.from_tensor_slices((keys, seeds))
        return self.batches(keyed, tf.shape(seeds, tf.int64)[0], drop_remainder=False).get_single_element()

    def _refusal(self, error: Exception, untraceable: Exception | None = None) -> Exception:
        """Return what to raise for what loading raised."""
        if isinstance(error, DataError) or status_of_error(error)[0] is Status.OUT_OF_MEMORY:
            return error
        told = in_short(error)
        if untraceable is not None and in_short(untraceable) != told:
            told += f", and when TensorFlow traced it, {in_short(untraceable)}"
        return DataError(
            f"{self._name} must make an example, always of the same shape, of the keys that it is given; it raised "
            f"{told}. Call it by itself to find out why."
        )


def _draws_by_itself(concrete: Any) -> bool:
    """Return whether a graph has random operations with a state of their own, which alone have a `seed2`."""
    graph = concrete.graph.as_graph_def()
    return any("seed2" in node.attr for function in graph.library.function for node in function.node_def)


def as_element(loaded: Any) -> Element:
    """Return what a `load` returned as `fit` takes it of a dataset: a tuple, in Keras's float type."""
    found = as_structure(loaded)
    element: Element = found if isinstance(found, tuple) else (found,)
    cast: Element = tf.nest.map_structure(_in_keras_float_type, element)
    return cast


def _in_keras_float_type(leaf: Any) -> Any:
    if isinstance(leaf, (tf.RaggedTensor, tf.SparseTensor)):
        return leaf
    tensor = tf.convert_to_tensor(leaf)
    return tf.cast(tensor, keras.config.floatx()) if tensor.dtype.is_floating else tensor


def in_short(error: Exception) -> str:
    """Return type and message without what TensorFlow puts around them: where it was traced, in which node it ran."""
    text = str(error).strip()
    if text.startswith("in user code:"):
        return text.splitlines()[-1].strip().rstrip(".")
    within = _WITHIN_PIPELINE.search(text)
    told = one_line(error) if within is None else f"{type(error).__name__}: {' '.join(within[1].split())}"
    return told.rstrip(".")


def _of(load: Load) -> Callable[[Any, Any], Any]:
    return functools.partial(call, load)


def _read_then_traced(load: Reading, example: tuple[Any, Any]) -> Callable[[Any, Any], Any]:
    """Return a read by Python, and what follows it by TensorFlow."""
    keys, _ = example
    read = PythonCall(load.read, keys[:1], open_shapes=load.then is not None)
    return lambda keys, seed: load.finish(read(keys[0]), seed)
