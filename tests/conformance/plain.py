"""What a script of plain Keras logs, on the order of examples that a search would use."""

import keras
import numpy as np
import tensorflow as tf

from tuning.loops.arrays import as_keras_sees_them, as_step_data
from tuning.loops.callbacks import scalars
from tuning.loops.order import ExampleOrder

SEED, EVALUATION = 3, 10


def plain_fit(
    build, data, *, batch_size, epochs, eagerly=False, callbacks=(), class_weight=None, evaluation=EVALUATION
):
    """Return the epochs' logs of `fit` on a dataset whose batches are the search's; every epoch has as many.

    A few updates of a small model take less time one by one, `eagerly`, than TensorFlow takes to trace one.
    """
    policy = keras.config.dtype_policy()
    keras.utils.clear_session()
    keras.utils.set_random_seed(SEED)
    try:
        model = build()
        model.run_eagerly = model.run_eagerly or eagerly
        arrays = as_keras_sees_them(data, class_weight)
        order = ExampleOrder(data.n_train, batch_size, SEED)
        assert order.least_updates == order.most_updates, "the batch size must divide the examples"
        rows = np.concatenate([order.rows(epoch) for epoch in range(epochs)])
        train = as_step_data(arrays.train)
        batches = tf.data.Dataset.from_tensor_slices(rows).map(
            lambda row: keras.tree.map_structure(lambda leaf: tf.gather(tf.constant(leaf), row), train)
        )
        logs = model.fit(
            batches,
            epochs=epochs,
            steps_per_epoch=order.least_updates,
            callbacks=list(callbacks),
            validation_data=arrays.validation,
            validation_batch_size=evaluation,
            shuffle=False,
            verbose=0,
        ).history
    finally:
        keras.config.set_dtype_policy(policy)
    return [scalars({name: values[epoch] for name, values in logs.items()}) for epoch in range(epochs)]
