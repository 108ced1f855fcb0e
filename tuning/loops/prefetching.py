"""Prefetching: batches are made, and on a GPU copied there, while the model trains on the ones before."""

from __future__ import annotations

import tensorflow as tf

from tuning.loops.processor import Processor

_BATCHES_ON_THE_GPU = 2  # the one that comes next, and the one after that while it is copied


def made_ahead(batches: tf.data.Dataset, processor: Processor | None) -> tf.data.Dataset:
    """Return batches that are made before they are asked for; on a GPU they then lie in its memory.

    Args:
        batches: As the model takes them. Text stays in the memory of the machine: a GPU has no strings.
        processor: What trains; None where a strategy distributes the batches, which it does from the machine's memory.
    """
    ahead = batches.prefetch(tf.data.AUTOTUNE)
    has_text = any(spec.dtype == tf.string for spec in tf.nest.flatten(batches.element_spec))
    if processor is None or not processor.is_gpu or has_text:
        return ahead
    return ahead.apply(tf.data.experimental.prefetch_to_device(processor.name, _BATCHES_ON_THE_GPU))
