"""What a loop hands to Keras's own `fit`: a model with functions installed, an epoch's pipeline, the arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search_spaces.data import Arrays
from search_spaces.row_reader import RowReader
from search_spaces.space import Setting, as_pairs
from tuning.instructions import Budget, Instructions
from tuning.loops.arrays import as_step_data, device_dtype
from tuning.loops.order import ExampleOrder
from tuning.loops.prefetching import made_ahead
from tuning.loops.processor import Processor
from tuning.messages import MemoryProbeRequest, ThroughputRequest
from tuning.noise_messages import NoiseScaleRequest
from tuning.trial import HyperparameterValue, Trial

_PLACEHOLDER = 0


@dataclass(frozen=True)
class Block:
    """Updates on the first examples of a trial, outside of `fit`.

    Args:
        run: Does so many updates and returns the logs of the last.
        longest: The most updates of one call.
        shortest: The fewest.
    """

    run: Callable[[int], Any]
    longest: int
    shortest: int = 1


class Pipeline(Protocol):
    """An input pipeline whose iteration yields the batches of the epoch that was begun last.

    `dataset` is a `tf.data.Dataset` of batches as `train_step` takes them, `order` the order of their examples. Where
    it `serves_all_epochs`, one iteration goes on from epoch to epoch and has no end.
    """

    order: ExampleOrder
    dataset: tf.data.Dataset
    serves_all_epochs: bool

    def begin(self, epoch: int) -> None:
        """Let the next iteration serve this epoch, counted from 0."""


@dataclass(frozen=True)
class FitPlan:
    """One training, ready for `model.fit(**arguments, epochs=..., callbacks=...)`.

    Args:
        model: The model to train; its `train_function` is the loop's.
        arguments: The arguments of `fit`: the data, the steps of an epoch and the validation.
        loop: The name of the loop.
        compile_seconds: Spent before `fit` on tracing, compiling and choosing.
        settings: What else was decided, such as `steps_per_execution`.
        measurements: What the deciding measured.
        block: A block of updates, to be timed apart from `fit`; None where the loop has none.
        pipeline: The input pipeline, to be timed alone; None where the loop has none.
        is_disturbed: Whether something else works in this process, so that seconds would not be the training's own.
    """

    model: keras.Model
    arguments: Mapping[str, Any]
    loop: str
    compile_seconds: float = 0.0
    settings: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    measurements: Mapping[str, float] = field(default_factory=dict)
    block: Block | None = None
    pipeline: Pipeline | None = None
    is_disturbed: bool = False


MakePlan = Callable[[Trial, ExampleOrder], FitPlan]
"""Plans a training that nobody watches, on an order of examples."""


def training_to_measure(
    request: MemoryProbeRequest | ThroughputRequest | NoiseScaleRequest,
    epochs: int,
    *,
    loop: str,
    seed: int = 0,
    learning_rate: float | None = None,
) -> Trial:
    """Return the training along which something is measured; it belongs to no study."""
    return Trial(
        Setting(request.batch_size, learning_rate, as_pairs(request.hyperparameters)),
        seed,
        budget=Budget(epochs),
        trial_id=request.trial_id,
        instructions=Instructions(loop=loop, evaluation_batch_size=request.evaluation_batch_size),
    )


def placeholder_data() -> tf.data.Dataset:
    """Return an endless dataset for a `fit` whose functions bring their own data; its elements are scalars."""
    return tf.data.Dataset.from_tensors(_PLACEHOLDER).repeat()


def is_placeholder(iterator: Any) -> bool:
    """Return whether an iterator runs over `placeholder_data`, rather than over data that a callback evaluates on."""
    return isinstance(iterator, tf.data.Iterator) and iterator.element_spec == tf.TensorSpec((), tf.int32)


def install(model: keras.Model, kind: str, function: Callable[[], Any]) -> None:
    """Let `function()` be every step that `fit` takes over `placeholder_data`.

    Only public behaviour of Keras 3.15 is used: `fit` and `evaluate` call `model.train_function(iterator)` and
    `model.test_function(iterator)` once per step, and keep one that is set. On any other iterator, such as that of a
    callback that evaluates on data of its own, Keras's own function is called.

    Args:
        model: Compiled model.
        kind: "train" or "test".
        function: Does one step, or a block of steps, and returns the logs.
    """
    name, own = f"{kind}_function", None

    def installed(iterator: Any) -> Any:
        nonlocal own
        if is_placeholder(iterator):
            return function()
        if own is None:
            own = own_function(model, kind)
        return own(iterator)

    setattr(model, name, installed)


def own_function(model: keras.Model, kind: str) -> Callable[[Any], Any]:
    """Keras's own train or test function, made afresh; the installed one stays in place."""
    name = f"{kind}_function"
    installed = getattr(model, name)
    getattr(model, f"make_{name}")(force=True)
    own: Callable[[Any], Any] = getattr(model, name)
    setattr(model, name, installed)
    return own


class EpochPipeline:
    """The `Pipeline` of arrays that hold the examples.

    It is the one that Keras makes of arrays (a gather of each batch's rows, mapped in parallel and
    prefetched), on the rows of an `ExampleOrder`. The rows reach it through a variable: `from_generator` would make
    TensorFlow 2.21 lower the allocator's trim threshold for the whole process.

    Args:
        data: The training arrays: tensors in host memory, or numpy arrays, perhaps memory maps, read batch by batch.
        order: The examples of every update.
        processor: Where the batches are to lie; None for the machine's memory.
        any_size: Whether the batches' shapes leave their size open, as those of Keras's own pipeline do, so that a
            function that was traced for one batch size takes another.
    """

    serves_all_epochs = False

    def __init__(
        self,
        data: tuple[Arrays, ...],
        order: ExampleOrder,
        processor: Processor | None = None,
        *,
        any_size: bool = False,
    ) -> None:
        self.order = order
        shape = (None, None if any_size else order.batch_size)
        with tf.device("CPU:0"):
            self._rows = tf.Variable(order.rows(0), shape=shape, trainable=False)
        rows = tf.data.Dataset.range(1).flat_map(lambda _: tf.data.Dataset.from_tensor_slices(self._rows.read_value()))
        batches = rows.map(
            lambda row: keras.tree.map_structure(lambda leaf: gather_batch(leaf, row), as_step_data(data)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        self.dataset = made_ahead(batches.with_options(_keras_options()), processor)

    def begin(self, epoch: int) -> None:
        """Let the next iteration serve this epoch, counted from 0."""
        self._rows.assign(self.order.rows(epoch))


def evaluation_dataset(data: tuple[Arrays, ...], n_examples: int, batch_size: int) -> tf.data.Dataset:
    """Return the validation batches of numpy arrays, read one by one, the remainder last."""
    starts = tf.data.Dataset.range(0, n_examples, batch_size, output_type=tf.int32)
    return starts.map(
        lambda start: keras.tree.map_structure(
            lambda leaf: _read(leaf, tf.range(start, tf.minimum(start + batch_size, n_examples))), as_step_data(data)
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(tf.data.AUTOTUNE)


def gather_batch(leaf: Any, row: tf.Tensor) -> tf.Tensor:
    """Return the examples of some rows of a tensor, or of a NumPy array in Keras's float type, inside a graph."""
    return tf.gather(leaf, row) if tf.is_tensor(leaf) else _read(leaf, row)


def _read(leaf: npt.NDArray[Any], row: tf.Tensor) -> tf.Tensor:
    rows_of = RowReader(leaf)

    def read(indices: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        return np.asarray(rows_of(indices), device_dtype(leaf))

    batch = tf.numpy_function(read, [row], tf.as_dtype(device_dtype(leaf)))
    return tf.ensure_shape(batch, (row.shape[0], *leaf.shape[1:]))


def _keras_options() -> tf.data.Options:
    """Return the options that Keras sets on the pipelines it makes of arrays (keras 3.15, array_data_adapter)."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
