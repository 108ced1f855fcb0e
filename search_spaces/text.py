"""text: a character language model on the manual that ships with Python, or on any text file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.archive import check_file
from search_spaces.batch_size import BatchSize
from search_spaces.data import Data, DataError
from search_spaces.workload import Description, Workload

LENGTH = 64
"""Characters per example."""
SYMBOLS = 256
"""Text is read as the bytes of its UTF-8, so that no alphabet is learnt from the validation part."""
WIDTH = 32
_BYTES = 80_000  # of about 460,000, so that a search takes minutes on two cores
_TRAINING_SHARE = 0.9
_FEWEST_BYTES = 20 * (LENGTH + 1)


def build_model() -> Any:
    """Return one transformer block over the bytes so far, at every position; Adam at 3e-3, loss in nats per byte."""
    import keras

    layers = keras.layers
    codes = keras.Input((LENGTH,), dtype="uint8")
    x = layers.Embedding(SYMBOLS, WIDTH)(codes) + layers.Embedding(LENGTH, WIDTH)(keras.ops.arange(LENGTH))
    seen = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(num_heads=2, key_dim=WIDTH // 2)(seen, seen, use_causal_mask=True)
    hidden = layers.Dense(4 * WIDTH, activation="relu")(layers.LayerNormalization()(x))
    x = x + layers.Dense(WIDTH)(hidden)
    model = keras.Model(codes, layers.Dense(SYMBOLS)(layers.LayerNormalization()(x)))
    model.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def load_manual() -> Data:
    """The first 80,000 bytes of the language reference behind Python's `help()`: see `examples`."""
    from pydoc_data.topics import topics

    manual = "\n".join(topics[name] for name in sorted(topics))
    return examples(manual.encode()[:_BYTES])


def read_text(path: str) -> Data:
    """A text file in UTF-8.

    Raises:
        DataError: If the file is missing, no such text, or short.
    """
    check_file(Path(path))
    try:
        text = Path(path).read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"The data file must be text in UTF-8; {path} is not ({error}). Convert it.") from None
    if len(text.encode()) < _FEWEST_BYTES:
        raise DataError(f"A text must have at least {_FEWEST_BYTES} bytes; {path} has {len(text.encode())}.")
    return examples(text.encode())


def examples(text: bytes) -> Data:
    """Pairs of 64 bytes and the 64 that follow each of them, `(n, 64) uint8` and `(n, 64) uint8`.

    The first nine tenths of the text train, the last validates; no example crosses the boundary or overlaps another.
    """
    codes = np.frombuffer(text, "uint8")
    at = int(_TRAINING_SHARE * len(codes))
    return Data(*_pairs(codes[:at]), *_pairs(codes[at:]))


def _pairs(part: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    n = (len(part) - 1) // LENGTH
    return part[: n * LENGTH].reshape(n, LENGTH), part[1 : n * LENGTH + 1].reshape(n, LENGTH)


workload = Workload(
    name="text",
    build=build_model,
    data=load_manual,
    objective="val_loss",
    epochs=2,
    batch_size=BatchSize(4, 64),
    read_file=read_text,
    description=Description(
        data="Python's manual: 1,124 + 124 times 64 characters, or .txt",
        model="one transformer block",
        space="batch 4 to 64",
        minutes="1 to 2",
    ),
)
