"""What a model's optimizer is, and how its rate, schedule, decay and constants are set for a batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from search_spaces.scaling import Scaling
from tuning.loops.keras_private import learning_rate_object
from tuning.trial import Trial

_schedules = keras.optimizers.schedules

# The entries of each schedule's config that are rates, and those that count updates.
_RATES: Mapping[type, tuple[str, ...]] = {
    _schedules.CosineDecay: ("initial_learning_rate", "warmup_target"),
    _schedules.CosineDecayRestarts: ("initial_learning_rate",),
    _schedules.ExponentialDecay: ("initial_learning_rate",),
    _schedules.InverseTimeDecay: ("initial_learning_rate",),
    _schedules.PiecewiseConstantDecay: ("values",),
    _schedules.PolynomialDecay: ("initial_learning_rate", "end_learning_rate"),
}
_COUNTS: Mapping[type, tuple[str, ...]] = {
    _schedules.CosineDecay: ("decay_steps", "warmup_steps"),
    _schedules.CosineDecayRestarts: ("first_decay_steps",),
    _schedules.ExponentialDecay: ("decay_steps",),
    _schedules.InverseTimeDecay: ("decay_steps",),
    _schedules.PiecewiseConstantDecay: ("boundaries",),
    _schedules.PolynomialDecay: ("decay_steps",),
}
_ENDING = (_schedules.CosineDecay, _schedules.PolynomialDecay)

_SEVERAL = getattr(keras.optimizers, "MultiOptimizer", ())  # Keras 3.8 has none
_WEIGHT_DECAYS = ("weight_decay", "adam_weight_decay")  # the second is Muon's, for what it leaves to Adam


def unwrapped_optimizer(model: keras.Model) -> Any:
    """Return the optimizer itself, beneath the loss scaling of mixed precision; None for a model without one."""
    optimizer = getattr(model, "optimizer", None)  # an attribute that only `compile` makes
    return getattr(optimizer, "inner_optimizer", optimizer)


def optimizer_name(model: keras.Model) -> str:
    """Return the class name of the optimizer, without the loss-scaling wrapper of mixed precision."""
    optimizer = unwrapped_optimizer(model)
    return "no optimizer" if optimizer is None else type(optimizer).__name__


def optimizer_kind(model: keras.Model) -> str:
    """Return the name of the optimizer's nearest class in Keras, which tells what it does: an heir of SGD is SGD."""
    optimizer = unwrapped_optimizer(model)
    own = (kind.__name__ for kind in type(optimizer).__mro__ if kind.__module__.partition(".")[0] == "keras")
    return next(own, type(optimizer).__name__)


def clips_gradients(model: keras.Model) -> bool:
    """Return whether the optimizer clips gradients, by any of Keras's three ways."""
    optimizer = unwrapped_optimizer(model)
    return any(getattr(optimizer, name, None) is not None for name in ("clipnorm", "global_clipnorm", "clipvalue"))


def schedule_of(model: keras.Model) -> Any:
    """Return the optimizer's `LearningRateSchedule`; None if it has a number, or a function."""
    schedule = learning_rate_object(unwrapped_optimizer(model))
    return schedule if isinstance(schedule, _schedules.LearningRateSchedule) else None


def own_learning_rate(model: keras.Model) -> float | None:
    """Return the rate that the model is compiled with, of a schedule of Keras its highest; None if it is unknown."""
    schedule, optimizer = schedule_of(model), unwrapped_optimizer(model)
    if schedule is not None:
        return highest_rate(schedule)
    if optimizer is None or isinstance(optimizer, _SEVERAL):
        return None
    value = optimizer.get_config().get("learning_rate")
    if not isinstance(value, (int, float)):
        return None
    return float(str(np.float32(value)))  # the number that was written: 0.001, not float32's 0.0010000000474974513


def highest_rate(schedule: Any) -> float | None:
    """Return the highest rate of a schedule of Keras; None for any other."""
    if type(schedule) not in _RATES:
        return None
    config = schedule.get_config()
    rates = [config[name] for name in _RATES[type(schedule)] if config[name] is not None]
    return float(max(keras.tree.flatten(rates)))


def length_in_updates(schedule: Any) -> float | None:
    """Return how many updates a schedule lasts; None if it has no end, or is none of Keras's."""
    if type(schedule) not in _ENDING or schedule.get_config().get("cycle"):
        return None
    config = schedule.get_config()
    return float(sum(config[name] or 0 for name in _COUNTS[type(schedule)]))


def rescaled(schedule: Any, *, rates: float, counts: float) -> Any:
    """Return a schedule of Keras whose rates and counts of updates are multiplied.

    Args:
        schedule: Of a class in Keras.
        rates: What every rate is multiplied by.
        counts: What every number of updates is multiplied by.
    """
    config = schedule.get_config()
    for names, factor in ((_RATES, rates), (_COUNTS, counts)):
        for name in names[type(schedule)]:
            config[name] = keras.tree.map_structure(lambda value, by=factor: value and value * by, config[name])
    return type(schedule).from_config(config)


def scale_to(model: keras.Model, trial: Trial, *, sets_own_rate: bool, scales_own_schedule: bool) -> None:
    """Set what follows the batch size, as the trial's instructions say; the optimizer has not been built.

    Args:
        model: Compiled for the trial.
        trial: What is trained.
        sets_own_rate: Whether the build function took the trial's learning rate from `hp`.
        scales_own_schedule: Whether it took the batch size from `hp`, so that its schedule is its own affair.

    Raises:
        ValueError: If a learning rate is given for a schedule that is none of Keras's.
    """
    optimizer, scaling = unwrapped_optimizer(model), trial.instructions.scaling
    _set_rate(model, trial, None if sets_own_rate else trial.learning_rate, scales_own_schedule=scales_own_schedule)
    if scaling.weight_decay:
        for name, decay in weight_decays(optimizer).items():
            setattr(optimizer, name, decay * scaling.decay_factor(trial.batch_size, trial.learning_rate))
    if scaling.decay_constants:
        scale_decay_constants(optimizer, trial.batch_size / scaling.at_batch_size)


def _set_rate(model: keras.Model, trial: Trial, rate: float | None, *, scales_own_schedule: bool) -> None:
    """Set a number, or a schedule of Keras whose highest rate it is; None leaves rates as they were built."""
    schedule, scaling = schedule_of(model), trial.instructions.scaling
    if type(schedule) in _RATES and not scales_own_schedule:
        own = highest_rate(schedule)
        counts = 1.0 if scaling.schedule_at is None else scaling.schedule_at / trial.batch_size
        factor = rate / own if rate is not None and own else 1.0
        unwrapped_optimizer(model).learning_rate = rescaled(schedule, rates=factor, counts=counts)
    elif schedule is not None and rate is not None:
        raise ValueError(
            f"A learning rate can be searched only where the model has a number or a schedule of Keras; got {rate} for "
            f"a {type(schedule).__name__}. Search without learning rates, or take the rate from hp."
        )
    elif rate is not None:
        set_learning_rate(model, rate)


def scaled_constants(model: keras.Model, scaling: Scaling) -> dict[str, float]:
    """Return what a training's constants were, of those that follow the batch size, by name."""
    optimizer = unwrapped_optimizer(model)
    decays = weight_decays(optimizer) if scaling.weight_decay else {}
    return decays | (decay_constants(optimizer) if scaling.decay_constants else {})


def as_expressions(model: keras.Model, scaling: Scaling) -> dict[str, str]:
    """Return what a training sets on its optimizer beside a number as its rate, as Python expressions by attribute."""
    found = {name: repr(value) for name, value in scaled_constants(model, scaling).items()}
    schedule = schedule_of(model)
    if type(schedule) not in _RATES:
        return found
    config = {name: value for name, value in schedule.get_config().items() if name != "name"}
    told = ", ".join(f"{name}={value!r}" for name, value in config.items())
    return {"learning_rate": f"keras.optimizers.schedules.{type(schedule).__name__}({told})", **found}


def set_learning_rate(model: keras.Model, learning_rate: float) -> None:
    """Assign a learning rate to the compiled optimizer, also beneath the loss scaling of mixed precision."""
    unwrapped_optimizer(model).learning_rate = learning_rate


def weight_decays(optimizer: Any) -> dict[str, float]:
    """Return the optimizer's decoupled weight decay, by name; empty where it has none."""
    found = {name: getattr(optimizer, name, None) for name in _WEIGHT_DECAYS}
    return {name: float(value) for name, value in found.items() if value}


def accumulate_gradients(model: keras.Model, steps: int) -> None:
    """Let the compiled optimizer update once for so many gradients, with their mean.

    Keras 3.15 reads the attribute when the optimizer is built and at every step, so it can be set until then.

    Raises:
        ValueError: If the optimizer has been built already.
    """
    optimizer = unwrapped_optimizer(model)
    if optimizer.built:
        raise ValueError("Gradients can be accumulated only by an optimizer that was not built yet; compile it anew.")
    optimizer.gradient_accumulation_steps = steps * (optimizer.gradient_accumulation_steps or 1)


_SECOND_MOMENT = {
    "beta_2": (keras.optimizers.Adam, keras.optimizers.Nadam, keras.optimizers.Adamax, keras.optimizers.Lamb),
    "rho": (keras.optimizers.RMSprop, keras.optimizers.Adadelta),
}
_AVERAGE = "ema_momentum"


def scale_decay_constants(optimizer: keras.optimizers.Optimizer, ratio: float) -> None:
    """Let an optimizer's decay constants keep their half-life in examples: `beta_2(B) = beta_2(B_ref)**(B/B_ref)`.

    Likewise `rho` of RMSprop and Adadelta, and `ema_momentum` where weights are averaged. beta_1 and momentum stay,
    because they are what helps at large batch sizes; so does everything of optimizers without a second moment.

    Args:
        optimizer: Not built yet: the constants are compiled into its updates.
        ratio: B/B_ref.

    Raises:
        ValueError: If the optimizer has been built already.
    """
    if optimizer.built:
        raise ValueError("Decay constants can follow the batch size only before the optimizer is built; compile anew.")
    for name, value in decay_constants(optimizer).items():
        setattr(optimizer, name, value**ratio)


def decay_constants(optimizer: keras.optimizers.Optimizer) -> dict[str, float]:
    """Return the constants that follow the batch size, by name; empty for an optimizer that has none."""
    names = [name for name, classes in _SECOND_MOMENT.items() if isinstance(optimizer, classes)]
    names += [_AVERAGE] if optimizer.use_ema else []
    return {name: float(getattr(optimizer, name)) for name in names}
