"""The optimizer's decay constants follow the batch size, so that their memory stays the same in examples."""

from __future__ import annotations

import keras

_SECOND_MOMENT = {
    "beta_2": (keras.optimizers.Adam, keras.optimizers.Nadam, keras.optimizers.Adamax, keras.optimizers.Lamb),
    "rho": (keras.optimizers.RMSprop, keras.optimizers.Adadelta),
}
_AVERAGE = "ema_momentum"


def scale_decay_constants(optimizer: keras.optimizers.Optimizer, ratio: float) -> None:
    """Let an optimizer's decay constants keep their half-life in examples.

        beta_2(B) = beta_2(B_ref)**(B/B_ref)

    likewise `rho` of RMSprop and Adadelta, and `ema_momentum` where weights are averaged. beta_1 and momentum stay,
    because they are what helps at large batch sizes; so does everything of optimizers without a second moment.

    Args:
        optimizer: Not built yet: the constants are compiled into its updates.
        ratio: B/B_ref.

    Raises:
        ValueError: If the optimizer has been built already.

    Source: Marek et al., Small Batch Size Training for Language Models (2025), for beta_2; Busbridge et al., How to
        Scale Your EMA (2023), for the average.
    """
    if optimizer.built:
        raise ValueError("Decay constants can follow the batch size only before the optimizer is built; compile anew.")
    for name, value in decay_constants(optimizer).items():
        setattr(optimizer, name, value**ratio)


def decay_constants(optimizer: keras.optimizers.Optimizer) -> dict[str, float]:
    """The constants that follow the batch size, by name; empty for an optimizer that has none."""
    names = [name for name, classes in _SECOND_MOMENT.items() if isinstance(optimizer, classes)]
    names += [_AVERAGE] if optimizer.use_ema else []
    return {name: float(getattr(optimizer, name)) for name in names}
