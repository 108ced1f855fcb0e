"""How many CPU threads this process trains with."""

from __future__ import annotations

import os

import tensorflow as tf


def intra_op_threads() -> int | None:
    """Threads among which TensorFlow divides an operation on the CPU; None where a GPU trains.

    As TensorFlow reads it: what `tf.config.threading` was told, else `TF_NUM_INTRAOP_THREADS`, else every core.
    """
    if tf.config.list_logical_devices("GPU"):
        return None
    told = tf.config.threading.get_intra_op_parallelism_threads()
    return told or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)
