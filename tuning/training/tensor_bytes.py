"""How many bytes of tensors one example could need at most in a training step, read off the traced graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_LOOPS = frozenset({"While", "StatelessWhile"})


def tensor_bytes_per_example(model: keras.Model, examples: tuple[Any, ...]) -> int | None:
    """The bytes of every tensor that grows with the batch, for one example, as if none were ever freed.

    A dimension that the length of `examples` divides counts as a batch dimension, so that the length should be a prime
    unlike the model's own sizes. What a loop computes counts once for each step of the longest axis of an example. It
    exceeds what a step holds at a time by a factor of 2 to 20 (measured on dense, convolutional, recurrent and
    attention models), but knows nothing of the workspaces of kernels.

    Args:
        model: Compiled, and trained on these examples before, so that tracing creates no variable.
        examples: `(x, y)` or `(x, y, sample_weight)`, arrays of the same length.

    Returns:
        None where the step cannot be traced, or where a shape is not known before it runs.
    """
    if model.run_eagerly:
        return None
    try:
        specs = keras.tree.map_structure(lambda leaf: tf.TensorSpec(leaf.shape, tf.as_dtype(leaf.dtype)), examples)
        step = tf.function(lambda batch: model.train_step(batch), autograph=False)
        graph = step.get_concrete_function(specs).graph.as_graph_def(add_shapes=True)
    except Exception:  # whatever the user's train_step raises outside of Keras's own train function
        return None
    leaves = keras.tree.flatten(examples)
    total = _bytes_of(graph, len(leaves[0]))
    if total is None:
        return None
    steps = max((size for leaf in leaves for size in leaf.shape[1:]), default=1)
    loops = any(node.op in _LOOPS for node in _nodes(graph))
    return int(total * (steps if loops else 1) / len(leaves[0]))


def _bytes_of(graph: Any, batch_size: int) -> int | None:
    """Of all tensors with a batch dimension; None if a numeric tensor's shape is not known."""
    total = 0
    for node in _nodes(graph):
        for shape in node.attr["_output_shapes"].list.shape:
            sizes = [dimension.size for dimension in shape.dim]
            if shape.unknown_rank or min(sizes, default=0) < 0:
                if node.op != "BroadcastGradientArgs":  # a list of axes
                    return None
            elif any(size and size % batch_size == 0 for size in sizes):
                total += int(np.prod(sizes)) * _item_bytes(node)
    return total


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _item_bytes(node: Any) -> int:
    """Of the operation's type, and at least 4."""
    enum = node.attr["T"].type or node.attr["dtype"].type
    return max(4, tf.as_dtype(enum).size) if enum and tf.as_dtype(enum).is_numpy_compatible else 8
