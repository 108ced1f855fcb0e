"""The arguments of Keras's `fit` that make sense in a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SET_BY_THE_TUNER = {
    "batch_size": "it is what the search tunes; give the sizes to the tuner",
    "epochs": "give it to the search itself",
    "callbacks": "give them to the search itself",
    "initial_epoch": "every trial starts at its first epoch",
    "steps_per_epoch": "an epoch is a pass over the data, so that every batch size sees the same examples",
    "validation_batch_size": "one fixed size serves all trials; set evaluation_batch_size",
    "validation_data": "give it to the search itself",
    "validation_freq": "every trial is validated once per epoch, so that scores compare",
    "validation_split": "split the data beforehand, so that every trial validates on the same examples",
    "validation_steps": "every trial validates on the whole validation set",
    "sample_weight": "pass the weights as part of the data",
}


@dataclass(frozen=True)
class FitOptions:
    """What of Keras's `fit` arguments a trial keeps.

    Args:
        class_weight: Weight of each class (by its integer label) in the training loss; classes left out weigh 1.
    """

    class_weight: Mapping[int, float] | None = None


def read_fit_options(options: Mapping[str, Any] | None) -> FitOptions:
    """Keep what makes sense in a search; `verbose` and `shuffle=True` change nothing and are let through.

    Raises:
        ValueError: If an argument is not possible in a search, with the reason.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None and name != "verbose"}
    if given.get("shuffle") is True:
        del given["shuffle"]
    class_weight = given.pop("class_weight", None)
    for name, value in given.items():
        why = _SET_BY_THE_TUNER.get(name, "the search shuffles, batches and trains by its own rules")
        raise ValueError(f"A search takes class_weight of Keras's fit options; got {name}={value!r:.40}: {why}.")
    if class_weight is not None and not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must map class labels to weights; got {class_weight!r:.60}.")
    return FitOptions(class_weight)
