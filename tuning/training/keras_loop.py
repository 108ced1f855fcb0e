"""The `keras` loop: Keras's own train function on a tf.data pipeline, exactly what plain `fit` gives."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from search_spaces.data import Arrays
from tuning.training.arrays import TrainingArrays
from tuning.training.clock import TrainingClock
from tuning.training.fit_plan import FitPlan, placeholder_data
from tuning.training.order import ExampleOrder


def keras_plan(
    model: keras.Model,
    arrays: TrainingArrays,
    resident: tuple[Arrays, ...],
    order: ExampleOrder,
    evaluation_batch_size: int,
    clock: TrainingClock,
) -> FitPlan:
    """Plain `fit` on our order of examples: the compile settings of the user, Keras's pipeline and train function.

    Args:
        model: Compiled model.
        arrays: Their validation part is handed to `fit` as it is.
        resident: The training arrays as host tensors, in the structure of `arrays.train`.
        order: The examples of every update.
        evaluation_batch_size: Examples per validation step; the remainder is kept.
        clock: Times the train function.
    """
    pipeline = EpochPipeline(resident, order)
    dataset = pipeline.dataset
    strategy = model.distribute_strategy
    distributed = strategy is not tf.distribute.get_strategy()
    if distributed:
        dataset = strategy.experimental_distribute_dataset(dataset)
    steps = ExactSteps(model, pipeline, dataset, clock)
    model.make_train_function(force=True)
    steps.install()
    arguments = {
        # under a distribution strategy fit builds the model from its first batch, so it must be a true one
        "x": pipeline.dataset.repeat() if distributed else placeholder_data(),
        "shuffle": False,  # the order is ours, and fit warns of shuffling a dataset
        "steps_per_epoch": steps.fit_steps,
        "validation_data": arrays.validation,
        "validation_batch_size": evaluation_batch_size,
    }
    settings = {"jit_compile": bool(model.jit_compile), "steps_per_execution": int(model.steps_per_execution)}
    return FitPlan(model, arguments, clock, "keras", settings=settings)


class EpochPipeline:
    """A dataset whose iteration yields the batches of the epoch that was begun last.

    The pipeline is the one that Keras makes of arrays (a gather of each batch's rows, mapped in parallel and
    prefetched), on the rows of an `ExampleOrder`. The rows reach it through a variable: `from_generator` would make
    TensorFlow 2.21 lower the allocator's trim threshold for the whole process.

    Args:
        resident: The training arrays as host tensors.
        order: The examples of every update.
    """

    def __init__(self, resident: tuple[Arrays, ...], order: ExampleOrder) -> None:
        self.order = order
        with tf.device("CPU:0"):
            self._rows = tf.Variable(order.rows(0), shape=(None, order.batch_size), trainable=False)
        rows = tf.data.Dataset.range(1).flat_map(lambda _: tf.data.Dataset.from_tensor_slices(self._rows.read_value()))
        batches = rows.map(
            lambda row: keras.tree.map_structure(lambda leaf: tf.gather(leaf, row), resident),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        self.dataset = batches.with_options(_keras_options()).prefetch(tf.data.AUTOTUNE)

    def begin(self, epoch: int) -> None:
        """Let the next iteration serve this epoch, counted from 0."""
        self._rows.assign(self.order.rows(epoch))


class ExactSteps:
    """A train function around Keras's own that trains exactly the updates of each epoch.

    Keras wants the same number of steps in every epoch, but the updates of an epoch vary by one, since leftover
    examples open the next epoch. So `fit` is given the least number of steps, and the last step of an epoch trains
    whatever is left of that epoch's iterator: one more update at times. Only public behaviour of Keras 3.15 is used:
    `fit` calls `model.train_function(iterator)` once per step and keeps one that is set.

    Args:
        model: Compiled model; `model.steps_per_execution` updates are done per step.
        pipeline: Told which epoch it serves.
        dataset: What is iterated once per epoch: the pipeline's dataset, perhaps distributed.
        clock: Times every call.
    """

    def __init__(self, model: keras.Model, pipeline: EpochPipeline, dataset: Any, clock: TrainingClock) -> None:
        self._model = model
        self._pipeline = pipeline
        self._dataset = dataset
        self._clock = clock
        self._updates_per_call = int(model.steps_per_execution)
        self._calls = -(-pipeline.order.least_updates // self._updates_per_call)
        self._epoch = self._call = self._done = 0
        self._iterator: Any = None
        self._own: Any = None

    @property
    def fit_steps(self) -> int:
        """`steps_per_epoch` for `fit`, which counts `steps_per_execution` steps for every call."""
        return self._calls * self._updates_per_call

    def install(self) -> None:
        """Put this in the place of the train function that Keras made."""
        self._own = self._model.train_function
        self._model.train_function = self

    def __call__(self, _: Any) -> Any:
        updates = self._pipeline.order.updates_in(self._epoch)
        if self._call == 0:
            self._pipeline.begin(self._epoch)
            self._iterator, self._done = iter(self._dataset), 0
        logs = self._execute(updates)
        self._call += 1
        if self._call == self._calls:
            while self._done < updates:
                logs = self._execute(updates)
            self._clock.end_epoch(logs)
            self._epoch, self._call = self._epoch + 1, 0
        return logs

    def _execute(self, updates_of_epoch: int) -> Any:
        updates = min(self._updates_per_call, updates_of_epoch - self._done)
        self._done += updates
        return self._clock.run(lambda: self._own(self._iterator), updates)


def _keras_options() -> tf.data.Options:
    """The options that Keras sets on the pipelines it makes of arrays (keras 3.15, array_data_adapter)."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
