"""The pipeline of a training: of arrays that hold the examples, of keys of which each is loaded, or of a stream."""

from __future__ import annotations

import tensorflow as tf

from search_spaces.data import Arrays
from tuning.loops.arrays import DataPlacement, as_step_data
from tuning.loops.example_stream import ExampleStream
from tuning.loops.fit_plan import EpochPipeline, Pipeline, gather_batch
from tuning.loops.loader import Loader
from tuning.loops.order import ExampleOrder
from tuning.loops.prefetching import made_ahead
from tuning.loops.processor import Processor


def pipeline_for(
    data: DataPlacement, order: ExampleOrder, *, distributed: bool = False, any_size: bool = False
) -> Pipeline:
    """Return the pipeline of the training data in an order.

    Args:
        data: Arrays, keys or a stream.
        order: The examples of every update.
        distributed: Whether a strategy distributes the batches, so that they must not lie on one GPU.
        any_size: Whether the shapes of arrays' batches leave their size open.
    """
    arrays, processor = data.arrays, None if distributed else data.processor
    if arrays.stream is not None:
        return StreamPipeline(arrays.stream, order, processor)
    if arrays.loader is not None:
        return LoadingPipeline(data, arrays.loader, order, processor)
    return EpochPipeline(data.for_pipeline, order, processor, any_size=any_size)


class LoadingPipeline:
    """The `Pipeline` of examples that are made of keys: gathered, loaded one by one in parallel, batched, prefetched.

    It holds no more examples than it is about to serve.

    Args:
        data: The keys.
        loader: Makes the examples.
        order: The examples of every update, with the seeds that they draw from.
        processor: Where the batches are to lie; None for the machine's memory.
    """

    serves_all_epochs = False

    def __init__(
        self, data: DataPlacement, loader: Loader, order: ExampleOrder, processor: Processor | None = None
    ) -> None:
        self.order = order
        keys = data.for_pipeline
        with tf.device("CPU:0"):
            self._seeds = tf.Variable(order.seeds(0), shape=(None, order.batch_size, 2), trainable=False)
        seeds = tf.data.Dataset.range(1).flat_map(
            lambda _: tf.data.Dataset.from_tensor_slices(self._seeds.read_value())
        )
        batches = _loaded(keys, seeds, loader, order.batch_size, drop_remainder=True)
        self.dataset = made_ahead(batches, processor)

    def begin(self, epoch: int) -> None:
        """Let the next iteration serve this epoch, counted from 0."""
        self._seeds.assign(self.order.seeds(epoch))


class StreamPipeline:
    """The `Pipeline` of a `Stream`: one iteration serves every epoch, so that no example is read to be skipped.

    Args:
        stream: Makes the batches.
        order: How many updates an epoch has, and the seed; a stream has no rows that could be put into an order.
        processor: Where the batches are to lie; None for the machine's memory.
    """

    serves_all_epochs = True

    def __init__(self, stream: ExampleStream, order: ExampleOrder, processor: Processor | None = None) -> None:
        self.order = order
        self.dataset = made_ahead(_as_taken(stream.training_batches(order.seed, order.batch_size)), processor)

    def begin(self, epoch: int) -> None:
        """Let the iteration go on, which is begun but once."""


def streamed_validation(stream: ExampleStream, n_examples: int, batch_size: int) -> tf.data.Dataset:
    """Return the validation batches of a stream, the remainder last."""
    return _validating(_as_taken(stream.validation_batches(batch_size)), -(-n_examples // batch_size))


def loaded_validation(data: tuple[Arrays, ...], loader: Loader, n_examples: int, batch_size: int) -> tf.data.Dataset:
    """Return the validation batches of keys, the remainder last."""
    blocks = tf.data.Dataset.range(0, n_examples, batch_size, output_type=tf.int32).map(
        lambda start: _without_seed(tf.range(start, tf.minimum(start + batch_size, n_examples)))
    )
    return _validating(_loaded(data, blocks, loader, batch_size, drop_remainder=False), -(-n_examples // batch_size))


def _validating(batches: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """Tell the length, since Keras takes an epoch of unknown length that ends for an interrupted one, and warns."""
    return made_ahead(batches, None).apply(tf.data.experimental.assert_cardinality(count))


def _without_seed(rows: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.zeros_like(rows), rows], axis=-1)


def _loaded(
    keys: tuple[Arrays, ...], seeds: tf.data.Dataset, loader: Loader, batch_size: int, *, drop_remainder: bool
) -> tf.data.Dataset:
    """Return batches of loaded examples.

    Args:
        keys: Tensors or NumPy arrays.
        seeds: Blocks of seeds, `(n, 2) int32`, whose last column is the row.
        loader: Makes the examples.
        batch_size: Examples per batch.
        drop_remainder: Whether every batch has that size.
    """
    gathered = seeds.map(
        lambda block: (tf.nest.map_structure(lambda leaf: gather_batch(leaf, block[:, 1]), keys), block),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return _as_taken(loader.batches(gathered.unbatch(), batch_size, drop_remainder=drop_remainder))


def _as_taken(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Return batches as `fit` takes them."""
    if as_step_data(batches.element_spec) is not batches.element_spec:
        batches = batches.map(lambda x: x)
    options = tf.data.Options()  # with TensorFlow's own optimisations: 230 us of an image become 210 (measured)
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)
