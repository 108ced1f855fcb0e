"""Small data of the forms that people hand to `fit`: tables, images, sequences, text, several inputs and outputs."""

import numpy as np

from search_spaces.data import Data

N_TRAIN, N_VAL, FEATURES, CLASSES, LENGTH = 48, 20, 6, 3, 5


def table(**weights):
    """Three classes of Gaussian points."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(CLASSES, FEATURES)) * 2
    y = generator.integers(0, CLASSES, N_TRAIN + N_VAL)
    x = (centres[y] + generator.normal(size=(len(y), FEATURES))).astype("float32")
    return Data(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:], **weights)


def weighted_table():
    weights = np.random.default_rng(3).uniform(0.5, 2.0, N_TRAIN + N_VAL).astype("float32")
    return table(sample_weight_train=weights[:N_TRAIN], sample_weight_val=weights[N_TRAIN:])


def one_hot_table():
    data = table()
    hot = np.eye(CLASSES, dtype="float32")
    return Data(data.x_train, hot[data.y_train], data.x_val, hot[data.y_val])


def regression():
    data = table()
    return Data(data.x_train[:, 1:], data.x_train[:, :1], data.x_val[:, 1:], data.x_val[:, :1])


def inputs_alone():
    data = table()
    return Data(data.x_train, None, data.x_val, None)


def images():
    generator = np.random.default_rng(1)
    x = generator.random((N_TRAIN + N_VAL, 8, 8, 1)).astype("float32")
    y = (x.mean((1, 2, 3)) > 0.5).astype("int32")
    return Data(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:])


def sequences():
    generator = np.random.default_rng(2)
    tokens = generator.integers(1, 9, (N_TRAIN + N_VAL, LENGTH)).astype("int32")
    tokens[::3, 3:] = 0  # padding, which a mask hides
    y = (tokens.sum(1) > 18).astype("int32")
    return Data(tokens[:N_TRAIN], y[:N_TRAIN], tokens[N_TRAIN:], y[N_TRAIN:])


WORDS = ("good", "bad", "fine", "poor", "great", "awful")


def sentences():
    generator = np.random.default_rng(4)
    picked = generator.integers(0, len(WORDS), (N_TRAIN + N_VAL, 3))
    text = np.array([" ".join(WORDS[i] for i in row) for row in picked], dtype=object)
    y = (picked % 2).sum(1).clip(0, CLASSES - 1).astype("int32")
    return Data(text[:N_TRAIN], y[:N_TRAIN], text[N_TRAIN:], y[N_TRAIN:])


def columns():
    """A number and a string for each example, by name, as a frame's columns become."""
    data, generator = table(), np.random.default_rng(5)
    town = np.array(WORDS, dtype=object)[generator.integers(0, len(WORDS), N_TRAIN + N_VAL)]
    number = np.concatenate([data.x_train, data.x_val])[:, :1]
    y = np.concatenate([data.y_train, data.y_val])
    train, val = slice(0, N_TRAIN), slice(N_TRAIN, None)
    return Data(
        {"number": number[train], "town": town[train]}, y[train], {"number": number[val], "town": town[val]}, y[val]
    )


def two_views():
    data = weighted_table()

    def part(x, y):
        return {"left": x[:, :3], "right": x[:, 3:]}, {"one": y, "two": y.astype("float32")[:, None]}

    def weights(given):
        return {"one": given, "two": 1 / given}

    return Data(
        *part(data.x_train, data.y_train),
        *part(data.x_val, data.y_val),
        weights(data.sample_weight_train),
        weights(data.sample_weight_val),
    )


def trimmed_sequences():
    """As many validation examples as two batches, for a model whose input layer fixes the batch size."""
    data = sequences()
    return Data(data.x_train, data.y_train, data.x_val[:16], data.y_val[:16])
