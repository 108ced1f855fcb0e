"""Kinds of models that people train with `fit`, each with its data, and the loops that train it to the same numbers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from small_data import (
    CLASSES,
    FEATURES,
    LENGTH,
    WORDS,
    columns,
    images,
    inputs_alone,
    one_hot_table,
    regression,
    sentences,
    sequences,
    table,
    trimmed_sequences,
    two_views,
    weighted_table,
)

from search_spaces.data import Data

layers = keras.layers
optimizers = keras.optimizers

LOOPS = ("keras", "device", "xla")
NO_XLA = ("keras", "device")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of model.

    Args:
        build: Returns it, compiled.
        data: What it is trained on.
        loops: Those that can train it.
        reason: What the first other loop says of why it cannot; empty where all can.
        rtol: The relative tolerance against plain `fit`.
        options: Further arguments of `fit`.
        evaluation: Examples per validation step under plain `fit`.
    """

    build: Callable[[], Any]
    data: Callable[[], Data]
    loops: tuple[str, ...] = LOOPS
    reason: str = ""
    rtol: float = 1e-5
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    evaluation: int = 10


def compiled(model, optimizer="adam", loss="sparse_categorical_crossentropy", **arguments):
    model.compile(optimizer, loss, **{"metrics": ["accuracy"], **arguments})
    return model


def stacked(*hidden, classes=CLASSES, shape=(FEATURES,), dtype=None, **arguments):
    output = layers.Dense(classes, activation="softmax", dtype="float32")
    return compiled(keras.Sequential([keras.Input(shape, dtype=dtype), *hidden, output]), **arguments)


def perceptron(optimizer="adam", **arguments):
    return stacked(layers.Dense(8, "tanh"), optimizer=optimizer, **arguments)


def with_optimizer(make):
    return Kind(lambda: perceptron(make()), table)


def on_images(*hidden):
    return stacked(*hidden, classes=2, shape=(8, 8, 1))


def on_sequences(*hidden):
    return stacked(*hidden, classes=2, shape=(LENGTH,), dtype="int32")


class TrainStep(keras.Model):
    """Keras's guide to a custom `train_step`: a loss of its own, and metrics of its own."""

    def __init__(self):
        super().__init__()
        self.hidden, self.scores = layers.Dense(8, "tanh"), layers.Dense(CLASSES)
        self.tracker = keras.metrics.Mean(name="halved")

    def call(self, x, training=False):
        return self.scores(self.hidden(x))

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True)) / 2
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        self.tracker.update_state(loss)
        return {"halved": self.tracker.result(), "last": loss}

    @property
    def metrics(self):
        return [self.tracker]

    def test_step(self, data):
        x, y = data
        self.tracker.update_state(self.compute_loss(x, y, self(x, training=False)))
        return {"halved": self.tracker.result()}


def train_step():
    return compiled(TrainStep(), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=None)


class Autoencoder(keras.Model):
    """Learns from inputs alone, without a compiled loss, as Keras's example of a VAE does."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = layers.Dense(2), layers.Dense(FEATURES)
        self.tracker = keras.metrics.Mean(name="error")

    @property
    def metrics(self):
        return [self.tracker]

    def call(self, x):
        return self.decoder(self.encoder(x))

    def train_step(self, data):
        with tf.GradientTape() as tape:
            error = keras.ops.mean((self(data) - data) ** 2)
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(error, weights), weights, strict=True))
        self.tracker.update_state(error)
        return {"error": self.tracker.result()}

    def test_step(self, data):
        self.tracker.update_state(keras.ops.mean((self(data) - data) ** 2))
        return {"error": self.tracker.result()}


def autoencoder():
    model = Autoencoder()
    model.compile(optimizer=optimizers.Adam(0.01))
    return model


class Adversarial(keras.Model):
    """A generator against a discriminator, each with an optimizer of its own, as in Keras's example of a GAN."""

    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = layers.Dense(FEATURES), layers.Dense(1)
        self.d_tracker, self.g_tracker = keras.metrics.Mean(name="d_loss"), keras.metrics.Mean(name="g_loss")

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn

    @property
    def metrics(self):
        return [self.d_tracker, self.g_tracker]

    def call(self, x):
        return self.discriminator(x)

    def losses_on(self, real):
        fake = self.generator(real[:, ::-1])
        seen = self.discriminator(keras.ops.concatenate([fake, real], axis=0))
        n = keras.ops.shape(real)[0]
        ones, zeros = keras.ops.ones((n, 1)), keras.ops.zeros((n, 1))
        d_loss = self.loss_fn(keras.ops.concatenate([ones, zeros], axis=0), seen)
        return d_loss, self.loss_fn(zeros, self.discriminator(fake))

    def train_step(self, real):
        with tf.GradientTape() as d_tape, tf.GradientTape() as g_tape:
            d_loss, g_loss = self.losses_on(real)
        for tape, loss, part, optimizer in (
            (d_tape, d_loss, self.discriminator, self.d_optimizer),
            (g_tape, g_loss, self.generator, self.g_optimizer),
        ):
            weights = part.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return self.track(d_loss, g_loss)

    def test_step(self, real):
        return self.track(*self.losses_on(real))

    def track(self, d_loss, g_loss):
        self.d_tracker.update_state(d_loss)
        self.g_tracker.update_state(g_loss)
        return {"d_loss": self.d_tracker.result(), "g_loss": self.g_tracker.result()}


def adversarial():
    model = Adversarial()
    model.compile(optimizers.Adam(0.01), optimizers.SGD(0.01), keras.losses.BinaryCrossentropy(from_logits=True))
    return model


def two_headed():
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    joined = layers.Concatenate()([left, right])
    outputs = {
        "one": layers.Dense(CLASSES, activation="softmax", name="one")(joined),
        "two": layers.Dense(1, name="two")(joined),
    }
    model = keras.Model({"left": left, "right": right}, outputs)
    return compiled(
        model,
        loss={"one": "sparse_categorical_crossentropy", "two": "mse"},
        loss_weights={"one": 1.0, "two": 0.5},
        metrics=None,
        weighted_metrics={"one": ["accuracy"], "two": ["mae"]},
    )


def masked():
    return on_sequences(layers.Embedding(9, 4, mask_zero=True), layers.LSTM(4))


def vectorized():
    vectorize = layers.TextVectorization(vocabulary=sorted(WORDS), output_sequence_length=3)
    embedded = [layers.Embedding(10, 4), layers.GlobalAveragePooling1D()]
    return stacked(vectorize, *embedded, shape=(), dtype="string")


def looked_up():
    inputs = {"number": keras.Input((1,), name="number"), "town": keras.Input((), dtype="string", name="town")}
    town = layers.StringLookup(vocabulary=sorted(WORDS), output_mode="one_hot")(inputs["town"])
    x = layers.Concatenate()([inputs["number"], town])
    return compiled(keras.Model(inputs, layers.Dense(CLASSES, "softmax")(x)))


def frozen():
    base = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(8, "relu"), layers.BatchNormalization()])
    base.trainable = False
    return stacked(base)


@keras.saving.register_keras_serializable("conformance")
class Doubling(layers.Layer):
    """A layer of the user's own, with a weight, a loss and a metric of its own."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.seen = keras.metrics.Mean(name="seen")

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        self.add_loss(0.01 * keras.ops.mean(self.scale**2))
        self.seen.update_state(keras.ops.mean(x))
        return 2 * x * self.scale


class Squares(keras.metrics.Metric):
    """A metric of the user's own."""

    def __init__(self, name="squares", **arguments):
        super().__init__(name=name, **arguments)
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(keras.ops.sum(y_pred**2))

    def result(self):
        return keras.ops.sqrt(self.total)


def shared():
    tower = layers.Dense(4, "relu")
    x = keras.Input((FEATURES,))
    return compiled(keras.Model(x, layers.Dense(CLASSES, "softmax")(tower(x) * tower(-x))))


def attention():
    x = keras.Input((LENGTH,), dtype="int32")
    embedded = layers.Embedding(9, 4)(x)
    seen = layers.LayerNormalization()(embedded + layers.MultiHeadAttention(2, 2)(embedded, embedded))
    return compiled(keras.Model(x, layers.Dense(2, "softmax")(layers.GlobalAveragePooling1D()(seen))))


def mixed():
    keras.config.set_dtype_policy("mixed_float16")
    return perceptron(optimizers.Adam(0.01))


def averaged():
    optimizer = optimizers.AdamW(0.01, weight_decay=0.1, use_ema=True, ema_overwrite_frequency=5, clipnorm=0.5)
    return stacked(layers.Dense(8, kernel_regularizer="l2"), optimizer=optimizer)


def several_optimizers():
    def chosen(variable):
        return optimizers.SGD(0.1) if "bias" in variable.path else optimizers.Adam()

    return perceptron(optimizers.MultiOptimizer(chosen))


def normalized():
    layer = layers.Normalization()
    layer.adapt(table().x_train)
    return stacked(layer, layers.Dense(4))


def fine_tuned():
    base = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, include_top=False, weights=None, pooling="avg", classifier_activation=None
    )
    base.trainable = False
    x = keras.Input((8, 8, 1))
    inputs = layers.Concatenate()([layers.UpSampling2D(4)(x)] * 3)
    return compiled(keras.Model(x, layers.Dense(2, "softmax")(base(inputs, training=False))))


def stateful():
    model = keras.Sequential([keras.Input(batch_shape=(8, LENGTH), dtype="int32"), layers.Embedding(9, 4)])
    model.add(layers.SimpleRNN(3, stateful=True))
    model.add(layers.Dense(2, "softmax"))
    return compiled(model)


def augmented():
    return on_images(layers.RandomFlip(), layers.RandomTranslation(0.1, 0.1), layers.Flatten())


cosine = optimizers.schedules.CosineDecay

KINDS = {
    "perceptron": Kind(perceptron, table),
    "built late": Kind(
        lambda: compiled(keras.Sequential([layers.Dense(8, "relu"), layers.Dense(CLASSES, "softmax")])), table
    ),
    "subclassed, custom train_step": Kind(train_step, table),
    "inputs alone, no compiled loss": Kind(autoencoder, inputs_alone),
    "adversarial, two optimizers": Kind(adversarial, inputs_alone),
    "several inputs and outputs, weighted": Kind(two_headed, two_views),
    "shared layers": Kind(shared, table),
    "frozen base": Kind(frozen, table),
    "a layer, a loss and a metric of one's own": Kind(lambda: stacked(layers.Dense(4), Doubling()), table),
    "convolution": Kind(
        lambda: on_images(layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()), images
    ),
    "separable convolution": Kind(
        lambda: on_images(layers.SeparableConv2D(4, 3), layers.GlobalAveragePooling2D()), images
    ),
    "batch normalization": Kind(lambda: stacked(layers.Dense(8), layers.BatchNormalization(), layers.ReLU()), table),
    "spectral normalization": Kind(lambda: stacked(layers.SpectralNormalization(layers.Dense(8))), table),
    "group normalization": Kind(lambda: stacked(layers.Dense(8), layers.GroupNormalization(2)), table),
    "fine-tuned application": Kind(fine_tuned, images, NO_XLA),
    "masked recurrence": Kind(masked, sequences, NO_XLA, "XLA cannot compile it"),
    "bidirectional recurrence": Kind(
        lambda: on_sequences(layers.Embedding(9, 4), layers.Bidirectional(layers.GRU(3))),
        sequences,
        NO_XLA,
        "XLA cannot compile it",
    ),
    "stateful recurrence": Kind(stateful, trimmed_sequences, NO_XLA, evaluation=8),
    "dropout": Kind(lambda: stacked(layers.Dense(8), layers.Dropout(0.5)), table, NO_XLA),
    "augmentation": Kind(augmented, images, NO_XLA),
    "attention": Kind(attention, sequences),
    "text": Kind(vectorized, sentences, NO_XLA, "text can be given neither to XLA nor to a GPU"),
    "columns of strings": Kind(looked_up, columns, NO_XLA, "text can be given neither to XLA nor to a GPU"),
    "normalization of inputs": Kind(normalized, table),
    "regression": Kind(
        lambda: compiled(
            keras.Sequential([keras.Input((FEATURES - 1,)), layers.Dense(1)]), loss="huber", metrics=["mae", "mse"]
        ),
        regression,
    ),
    "array of metrics": Kind(
        lambda: perceptron(loss="categorical_crossentropy", metrics=[keras.metrics.F1Score()]), one_hot_table
    ),
    "a metric of one's own": Kind(lambda: perceptron(metrics=[Squares()]), table),
    "sample weights": Kind(lambda: perceptron(metrics=None, weighted_metrics=["accuracy"]), weighted_table),
    "class weights": Kind(perceptron, table, options={"class_weight": {0: 2.0, 2: 0.5}}),
    "a loss of one's own": Kind(
        lambda: perceptron(loss=lambda y, p: keras.losses.sparse_categorical_crossentropy(y, p) ** 2), table
    ),
    "constraints and regularizers": Kind(
        lambda: stacked(
            layers.Dense(8, kernel_constraint="unit_norm", activity_regularizer="l1", bias_regularizer="l2")
        ),
        table,
    ),
    "mixed precision, loss scaling": Kind(mixed, table, rtol=2e-2),
    "run eagerly": Kind(
        lambda: perceptron(run_eagerly=True), table, ("keras",), "it is compiled with run_eagerly=True"
    ),
    "steps per execution": Kind(lambda: perceptron(steps_per_execution=3), table),
    "compiled by XLA": Kind(lambda: perceptron(jit_compile=True), table),
    "averages, decay and clipping": Kind(averaged, table),
    "accumulated gradients": Kind(lambda: perceptron(optimizers.Adam(0.01, gradient_accumulation_steps=3)), table),
    "clipped by value": with_optimizer(lambda: optimizers.SGD(0.1, clipvalue=0.05)),
    "clipped globally": with_optimizer(lambda: optimizers.RMSprop(0.01, global_clipnorm=0.1)),
    "momentum on a schedule": with_optimizer(lambda: optimizers.SGD(cosine(0.1, 12), momentum=0.9, nesterov=True)),
    "Lion": with_optimizer(lambda: optimizers.Lion(0.001)),
    "Lamb": with_optimizer(lambda: optimizers.Lamb(0.01)),
    "Adafactor": with_optimizer(lambda: optimizers.Adafactor(0.01)),
    "Muon": with_optimizer(lambda: optimizers.Muon(0.01)),
    "Ftrl": with_optimizer(lambda: optimizers.Ftrl(0.1)),
    "several optimizers by variable": Kind(several_optimizers, table),
}
"""By what is special about them."""
