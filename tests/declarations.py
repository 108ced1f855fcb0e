"""Hyperparameters of every kind that a build function may declare."""

from __future__ import annotations

from typing import Any

import keras_tuner


def declared() -> Any:
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", ["mlp", "cnn"], default="cnn")
    with hp.conditional_scope("kind", ["cnn"]):
        hp.Int("filters", 8, 24, step=8)
    hp.Float("dropout", 0.0, 0.5, step=0.25, default=0.25)
    hp.Int("units", 1, 64, sampling="log")
    hp.Boolean("norm")
    hp.Choice("levels", [3, 1], ordered=False)
    hp.Fixed("constant", 3)
    return hp
