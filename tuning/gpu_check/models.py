"""The models that are trained on the bench; each is a build function, which travels to the worker."""

from __future__ import annotations

from typing import Any

_CLASSES = 10


def mlp() -> Any:
    """Return a perceptron of two layers for vectors of 64."""
    import keras

    layers = [keras.Input((64,)), keras.layers.Dense(128, activation="relu"), keras.layers.Dense(_CLASSES)]
    return _compiled(keras.Sequential(layers))


def cnn() -> Any:
    """Return a network of two convolutions for images of 32 x 32."""
    import keras

    layers = keras.layers
    parts = [
        keras.Input((32, 32, 3)),
        layers.Rescaling(0.01),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(_CLASSES),
    ]
    return _compiled(keras.Sequential(parts))


def residual() -> Any:
    """Return a residual network with batch normalisation for images of 32 x 32."""
    import keras

    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(32, 3, padding="same")(layers.Rescaling(0.01)(inputs))
    for width in (32, 64, 128):
        short = layers.Conv2D(width, 1, strides=2)(x)
        for strides in (2, 1):
            x = layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False)(x)
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.Add()([x, short])
    x = layers.GlobalAveragePooling2D()(x)
    return _compiled(keras.Model(inputs, layers.Dense(_CLASSES)(x)))


def lstm() -> Any:
    """Return a recurrence that cuDNN can train."""
    import keras

    return _compiled(keras.Sequential([keras.Input((32, 16)), keras.layers.LSTM(64), keras.layers.Dense(_CLASSES)]))


def transformer() -> Any:
    """Return one block of attention over a sequence."""
    import keras

    layers = keras.layers
    inputs = keras.Input((32, 16))
    x = layers.Dense(64)(inputs)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 16)(x, x))
    x = layers.LayerNormalization()(x + layers.Dense(64)(layers.Dense(256, activation="gelu")(x)))
    return _compiled(keras.Model(inputs, layers.Dense(_CLASSES)(layers.GlobalAveragePooling1D()(x))))


def wide_activations() -> Any:
    """Return a model whose activations are 64 KiB of an example."""
    import keras

    layers = [keras.Input((64,)), keras.layers.Dense(2**14, activation="relu"), keras.layers.Dense(_CLASSES)]
    return _compiled(keras.Sequential(layers))


def wide(gibibytes: float) -> Any:
    """Return a build function of a model on vectors of 64 whose weights alone take so much memory."""

    def build() -> Any:
        import keras

        units = int(gibibytes * 2**30 / (4 * (64 + _CLASSES)))
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(units, use_bias=False)])
        model.add(keras.layers.Dense(_CLASSES, use_bias=False))
        return _compiled(model, "sgd")

    return build


def _compiled(model: Any, optimizer: str = "adam") -> Any:
    import keras

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model
