"""What a loop hands to Keras's own `fit`: the model with its functions installed, and the arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from search_spaces.space import Setting, as_pairs
from tuning.loops.order import ExampleOrder
from tuning.messages import MemoryProbeRequest, NoiseScaleRequest, ThroughputRequest
from tuning.trial import Budget, HyperparameterValue, Instructions, Trial

if TYPE_CHECKING:
    from tuning.loops.pipeline import EpochPipeline

_PLACEHOLDER = 0


@dataclass(frozen=True)
class Block:
    """Updates on the first examples of a trial, outside of `fit`.

    Args:
        run: Does so many updates and returns the logs of the last.
        longest: The most updates of one call.
    """

    run: Callable[[int], Any]
    longest: int


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
    """

    model: keras.Model
    arguments: Mapping[str, Any]
    loop: str
    compile_seconds: float = 0.0
    settings: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    measurements: Mapping[str, float] = field(default_factory=dict)
    block: Block | None = None
    pipeline: EpochPipeline | None = None


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
