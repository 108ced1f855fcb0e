"""Replicas: one training on several cards of a machine, by TensorFlow's `MirroredStrategy`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


class Replicas:
    """The cards on which a model trains at once, each on an equal share of every batch.

    Keras scales the loss of a share by the number of cards and sums the gradients, so that an update is that of the
    whole batch on one card. `MirroredStrategy` alone is used: the others of TensorFlow do not train Keras 3 models.

    Args:
        cards: How many; 1 trains as without any strategy.

    Raises:
        ValueError: If TensorFlow has fewer devices here.
    """

    def __init__(self, cards: int = 1) -> None:
        self.cards = cards
        self._strategy: tf.distribute.Strategy | None = None
        if cards > 1:
            devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
            if len(devices) < cards:
                raise ValueError(
                    f"gpus_per_trial must not exceed the devices that TensorFlow has here, {len(devices)}; got {cards}."
                )
            self._strategy = tf.distribute.MirroredStrategy([device.name for device in devices[:cards]])

    def check(self, batch_size: int) -> None:
        """Refuse a batch that the cards cannot share equally: examples of smaller shares would weigh more.

        Raises:
            ValueError: If their number does not divide it.
        """
        if batch_size % self.cards:
            raise ValueError(f"A batch must be a multiple of the {self.cards} cards that share it; got {batch_size}.")

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Have models that are built meanwhile train on these cards."""
        if self._strategy is None:
            yield
            return
        with self._strategy.scope():
            yield


def replicas_of(model: keras.Model) -> int:
    """Return the number of cards on which a model was built to train."""
    return int(model.distribute_strategy.num_replicas_in_sync)


def even_size(size: int, n_examples: int, cards: int) -> int:
    """Return the largest size of an evaluation's batches, up to one asked for, whose first batch all cards share alike.

    Keras 3.15 builds a model under a strategy from the sum of the shares of a first batch, which must have one shape.
    The last batch may be any: what is evaluated does not depend on its size.

    Args:
        size: Examples of a batch, as asked for.
        n_examples: All examples; no batch is larger.
        cards: Those that share a batch.

    Raises:
        ValueError: If there are fewer examples than cards.
    """
    least = min(size, n_examples)
    if n_examples < cards:
        raise ValueError(f"Each of {cards} cards needs an example to evaluate; got {n_examples}. Add some.")
    return max(cards, least - least % cards) if cards > 1 else size


def divide_cpu(parts: int) -> None:
    """Have TensorFlow show the CPU as so many devices, which take the part of cards where there are none.

    Raises:
        RuntimeError: If TensorFlow has used the CPU already.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * parts)
