"""What the user's build function builds, learnt by building it and training it on a few examples."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf

from search_spaces.data import Data, leaves, map_arrays
from search_spaces.entry import entries_of
from search_spaces.learning_rate import KERAS_BATCH_SIZE
from search_spaces.space import Setting, as_pairs
from tuning.loops.arrays import TrainingArrays
from tuning.loops.callbacks import scalars
from tuning.loops.failures import one_line, status_of_error
from tuning.loops.keras_private import every_layer
from tuning.loops.labels import check_inputs, check_labels
from tuning.loops.model_builder import (
    BATCH_SIZE_NAME,
    ModelBuilder,
    ModelError,
    WatchedHyperParameters,
    declared_learning_rate,
    hyperparameters_from,
    static_batch_size,
)
from tuning.loops.optimizers import (
    clips_gradients,
    length_in_updates,
    optimizer_kind,
    optimizer_name,
    own_learning_rate,
    schedule_of,
    unwrapped_optimizer,
    weight_decays,
)
from tuning.loops.own_fit import OwnFit
from tuning.messages import DescribeRequest, ModelDescription
from tuning.trial import Status, Trial

_EXAMPLES = 13  # a prime, so that batch dimensions show in the traced graph
_SEED = 0


def describe_model(
    builder: ModelBuilder,
    arrays: TrainingArrays,
    request: DescribeRequest,
    *,
    own_fit: OwnFit | None = None,
    data: Data | None = None,
) -> ModelDescription:
    """Build the model, activate its hyperparameters, and train one small batch.

    Args:
        builder: Builds it.
        arrays: What is trained on, as Keras sees it.
        request: What is known of the hyperparameters.
        own_fit: The `fit` of a `HyperModel` that has one.
        data: What is trained on, as the user gave it, for that.

    Raises:
        ModelError: If the build function builds nothing usable, or the data do not fit the model.
        DataError: If examples cannot be loaded, or not the same ones twice.
    """
    builder.check()
    arrays.refuse_chance()
    space = hyperparameters_from(request.hyperparameters)
    builder.declare(space)
    model, tells_batch_size = _build(builder, space)
    seeded = _starts_by_seed(builder, space, model)
    examples = arrays.training_examples(static_batch_size(model) or _EXAMPLES)
    own = None if own_fit is None or data is None else _own_metrics(own_fit, model, space, data)
    if own is not None and arrays.loader is not None:
        raise ModelError(
            "A HyperModel.fit that trains by a loop of its own takes arrays; got data with load. Call model.fit in it, "
            "or give the examples themselves."
        )
    _check_sharing(model, builder.replicas.cards, has_own_loop=own is not None)
    metrics = _logged_metrics(model, arrays, examples) if own is None else own
    if data is not None and own is None and arrays.hold_examples:  # of keys, nothing is known but what is loaded
        check_inputs(model, data)
        check_labels(model, data)
    schedule = schedule_of(model)
    return ModelDescription(
        trial_id=request.trial_id,
        entries=entries_of(space.space),
        optimizer=optimizer_name(model),
        has_own_loop=own is not None,
        learning_rate=own_learning_rate(model),
        learning_rate_name=declared_learning_rate(space),
        metrics=metrics,
        parameters=int(model.count_params()),
        has_batch_normalization=has_batch_normalization(model),
        tensor_bytes_per_example=tensor_bytes_per_example(model, examples),
        optimizer_kind=optimizer_kind(model),
        schedule="" if schedule is None else type(schedule).__name__,
        schedule_updates=length_in_updates(schedule),
        weight_decay=weight_decays(unwrapped_optimizer(model)).get("weight_decay"),
        tells_batch_size=tells_batch_size,
        starts_by_seed=seeded,
        input_shape=(None, *next(leaves(examples[0])).shape[1:]),
        python_load="" if arrays.loader is None else arrays.loader.python_reason,
        normalizes_by_card=any(not layer.synchronized for layer in _batch_normalizations(model)),
        clips_gradients=clips_gradients(model),
    )


def _check_sharing(model: keras.Model, cards: int, *, has_own_loop: bool) -> None:
    """Refuse a model that cannot train on several cards like on one.

    Raises:
        ModelError: If it cannot.
    """
    optimizer, fixed = unwrapped_optimizer(model), static_batch_size(model)
    reasons = {
        "a HyperModel.fit with a loop of its own": has_own_loop,
        f"an input layer that fixes the batch size, to {fixed}": fixed is not None,
        "an optimizer that accumulates gradients": bool(getattr(optimizer, "gradient_accumulation_steps", None)),
    }
    if cards > 1 and (found := [reason for reason, applies in reasons.items() if applies]):
        raise ModelError(
            f"A training on {cards} cards goes through model.fit, each card with its share of every batch; got "
            f"{' and '.join(found)}. Change that, or train on one card (--gpus-per-trial 1)."
        )


def has_batch_normalization(model: keras.Model) -> bool:
    """Return whether any layer, however nested, normalises over the batch."""
    return any(_batch_normalizations(model))


def _batch_normalizations(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    return (layer for layer in every_layer(model) if isinstance(layer, keras.layers.BatchNormalization))


def _build(builder: ModelBuilder, space: keras_tuner.HyperParameters) -> tuple[keras.Model, bool]:
    """Build with the space's own values, then until each conditional scope was entered once.

    Adds every entry that the builds declare to `space`. Returns the first model, and whether the first build took the
    batch size from its hyperparameters.

    Source: keras-tuner 1.4.8, BaseTuner._activate_all_conditions, which does the same on an oracle.
    """
    watched = WatchedHyperParameters({**space.values, BATCH_SIZE_NAME: KERAS_BATCH_SIZE})
    watched.merge(space, overwrite=False)
    hp: keras_tuner.HyperParameters = watched
    first = builder.build(hp, _SEED)
    _update(space, hp)
    never: list[Any] = []
    entered: list[Any] = []
    while True:
        for scope in hp.active_scopes:
            if scope not in entered:
                entered.append(copy.deepcopy(scope))
            if scope in never:
                never.remove(scope)
        never.extend(copy.deepcopy(scope) for scope in hp.inactive_scopes if scope not in entered)
        if not never:
            return first, watched.tells_batch_size
        hp = space.copy()
        hp.values.setdefault(BATCH_SIZE_NAME, KERAS_BATCH_SIZE)
        for condition in never[0]:
            hp.values[condition.name] = condition.values[0]
        hp.ensure_active_values()
        builder.build(hp, _SEED)
        _update(space, hp)


def _starts_by_seed(builder: ModelBuilder, space: keras_tuner.HyperParameters, model: keras.Model) -> bool:
    """Return whether another seed gives other initial weights; true where that shows only with the first batch."""
    if not model.weights:
        return True
    hp = space.copy()
    hp.values.setdefault(BATCH_SIZE_NAME, KERAS_BATCH_SIZE)
    other = builder.build(hp, _SEED + 1)
    pairs = zip(model.get_weights(), other.get_weights(), strict=False)
    return not all(np.array_equal(mine, theirs) for mine, theirs in pairs)


def _own_metrics(
    own_fit: OwnFit, model: keras.Model, space: keras_tuner.HyperParameters, data: Data
) -> tuple[str, ...] | None:
    """Add what a `fit` of the user's own declares to `space`; return the metrics of its own loop, if it has one."""
    given = {name: value for name, value in space.values.items() if name != BATCH_SIZE_NAME}
    trial = Trial(Setting(min(KERAS_BATCH_SIZE, _EXAMPLES), None, as_pairs(given)), _SEED, trial_id="describe")
    parts = {name: map_arrays(lambda leaf: leaf[:_EXAMPLES], part) for name, part in data.parts().items()}
    hp, metrics = own_fit.describe(trial, model, Data(**parts, load=data.load, load_val=data.load_val))
    _update(space, hp)
    return metrics


def _update(space: keras_tuner.HyperParameters, hp: keras_tuner.HyperParameters) -> None:
    space.merge(hp, overwrite=False)


def _logged_metrics(model: keras.Model, arrays: TrainingArrays, examples: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the names that training logs, after one step of training and one of validation."""
    count = static_batch_size(model) or _EXAMPLES
    if len(examples) == 1:  # what Keras hands a step of one batch is then another thing than what `fit` hands it
        train = _step("training", functools.partial(_fit_alone, model), examples)
        _step("validating", functools.partial(_evaluate_alone, model), arrays.validation_examples(count))
    else:
        train = _step("training", model.train_on_batch, examples)
        _step("validating", model.test_on_batch, arrays.validation_examples(count))
    return tuple(scalars(train))


def _fit_alone(model: keras.Model, x: Any, *, return_dict: bool) -> dict[str, Any]:  # noqa: ARG001  (as train_on_batch)
    """Train on one batch of inputs alone, and return the logs."""
    logs = model.fit(x, batch_size=len(keras.tree.flatten(x)[0]), shuffle=False, verbose=0).history
    return {name: values[-1] for name, values in logs.items()}


def _evaluate_alone(model: keras.Model, x: Any, *, return_dict: bool) -> dict[str, Any]:
    """Validate on one batch of inputs alone, and return the logs."""
    found: dict[str, Any] = model.evaluate(
        x, batch_size=len(keras.tree.flatten(x)[0]), verbose=0, return_dict=return_dict
    )
    return found


def _step(doing: str, function: Callable[..., Any], examples: tuple[Any, ...]) -> dict[str, float]:
    try:
        logs: dict[str, float] = function(*examples, return_dict=True)
    except Exception as error:
        if status_of_error(error)[0] is Status.OUT_OF_MEMORY:
            raise
        shapes = keras.tree.map_structure(lambda leaf: tuple(leaf.shape), examples)
        raise ModelError(
            f"The data must fit the model; {doing} on arrays of shapes {shapes} raised {one_line(error).rstrip('.')}. "
            "Change the model's input, output or loss, or the data."
        ) from error
    return logs


_LOOPS = frozenset({"While", "StatelessWhile"})


def tensor_bytes_per_example(model: keras.Model, examples: tuple[Any, ...]) -> int | None:
    """Return the bytes of every tensor that grows with the batch, for one example, as if none were ever freed.

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
    """Return the bytes of all tensors with a batch dimension; None if a numeric tensor's shape is not known."""
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
    """Return the bytes of one item of the operation's type, at least 4."""
    enum = node.attr["T"].type or node.attr["dtype"].type
    return max(4, tf.as_dtype(enum).size) if enum and tf.as_dtype(enum).is_numpy_compatible else 8
