"""The forms in which people hand over data: each trains as in a script of plain Keras, or is refused in one line."""

import array
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas
import scipy.sparse
import tensorflow as tf

from search_spaces import Data, Stream

N_TRAIN, N_VAL, FEATURES, CLASSES = 48, 20, 6, 3
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N_TRAIN + N_VAL, FEATURES)).astype("float32")
Y = RANDOM.integers(0, CLASSES, N_TRAIN + N_VAL)
X_TRAIN, X_VAL, Y_TRAIN, Y_VAL = X[:N_TRAIN], X[N_TRAIN:], Y[:N_TRAIN], Y[N_TRAIN:]
WORDS = np.array(["good", "bad", "fine"])[Y]
SIGNATURE = (tf.TensorSpec((FEATURES,)), tf.TensorSpec((), tf.int64))

layers = keras.layers


def dense(inputs, encoded, loss="sparse_categorical_crossentropy"):
    hidden = layers.Dense(4, activation="relu")(encoded)
    model = keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(hidden))
    model.compile("adam", loss, run_eagerly=True)
    return model


def flat(features=FEATURES, loss="sparse_categorical_crossentropy"):
    inputs = keras.Input((features,))
    return dense(inputs, inputs, loss)


def of_images():
    inputs = keras.Input((8, 8, 1))
    return dense(inputs, layers.Flatten()(layers.Rescaling(1 / 255)(inputs)))


def of_text():
    inputs = keras.Input((), dtype="string")
    encode = layers.TextVectorization(output_mode="multi_hot", vocabulary=["good", "bad", "fine"])
    return dense(inputs, encode(inputs))


def of_two(names=("left", "right")):
    left, right = keras.Input((3,), name="left"), keras.Input((3,), name="right")
    inputs = {"left": left, "right": right} if names else [left, right]
    return dense(inputs, layers.Concatenate()([left, right]))


def of_columns():
    inputs = {"number": keras.Input((1,), name="number"), "word": keras.Input((1,), name="word", dtype="string")}
    encode = layers.StringLookup(vocabulary=["good", "bad", "fine"], output_mode="multi_hot")
    return dense(inputs, layers.Concatenate()([inputs["number"], encode(inputs["word"])]))


@dataclasses.dataclass(frozen=True)
class Form:
    """One way to hand over data.

    Args:
        make: Returns the arguments of `search`, and may write files to the folder that it is given.
        refused: What the one line says; empty where it trains.
        build: Returns the model that it trains.
        note: What is said of it where it trains.
        in_keras: Turns the arguments into those of Keras's `fit` at a batch size of all examples.
    """

    make: Callable[[Path], dict[str, Any]]
    refused: str = ""
    build: Callable[[], Any] = flat
    note: str = ""
    in_keras: Callable[[dict[str, Any]], dict[str, Any]] = lambda given: {
        name: whole(value) if name in ("x", "validation_data") else value for name, value in given.items()
    }


def whole(value):
    """A dataset as one batch; anything else as it is."""
    if not isinstance(value, tf.data.Dataset):
        return value
    first = tf.nest.flatten(value.element_spec)[-1]
    batches = (value.unbatch() if first.shape.rank else value).batch(N_TRAIN)
    return tf.data.Dataset.from_tensors(next(iter(batches)))


def arrays(x=X, y=Y, **more):
    """Arguments in which all examples of both parts are forms of one array, split by slicing."""
    return {"x": x[:N_TRAIN], "y": y[:N_TRAIN], "validation_data": (x[N_TRAIN:], y[N_TRAIN:]), **more}


def training(x, y=Y_TRAIN, validation=(X_VAL, Y_VAL)):
    return {"x": x, "y": y, "validation_data": validation}


def dataset(count=N_TRAIN):
    return tf.data.Dataset.from_tensor_slices((X_TRAIN, Y_TRAIN) if count == N_TRAIN else (X_VAL, Y_VAL))


def datasets(change=lambda dataset: dataset, change_validation=lambda dataset: dataset):
    return {"x": change(dataset()), "validation_data": change_validation(dataset(N_VAL))}


class Batches(keras.utils.PyDataset):
    """Batches of 16, with noise where that is asked for."""

    def __init__(self, size=16, count=N_TRAIN // 16, noise=0.0):
        super().__init__()
        self.size, self.count, self.noise = size, count, noise

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        rows = slice(self.size * index, self.size * (index + 1))
        return X_TRAIN[rows] + np.float32(self.noise * np.random.random()), Y_TRAIN[rows]


class Endless:
    """A sequence without an end, which NumPy would read until memory is gone."""

    def __init__(self, length=None):
        self.length = length

    def __len__(self):
        if self.length is None:
            raise TypeError
        return self.length

    def __getitem__(self, index):
        return X[0]


class EndlessList(list):
    """A list that is iterated without an end."""

    def __iter__(self):
        while True:
            yield 0


class Tensor:
    """What another library's tensor shows of itself."""

    def __init__(self, values, error=None):
        self.values, self.error, self.shape, self.dtype = values, error, values.shape, values.dtype

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        if self.error:
            raise self.error
        return self.values


class Store:
    """A large array in a file of another library's, such as HDF5."""

    shape, dtype = (2**28, 64), np.dtype("float64")

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("read into memory")


def endlessly():
    while True:
        yield X[0], Y[0]


def once():
    yield from zip(X_TRAIN, Y_TRAIN, strict=True)


def generated(generator, signature=SIGNATURE):
    return tf.data.Dataset.from_generator(generator, output_signature=signature)


def noisy(dataset):
    tf.random.set_seed(None)  # with a seed every pass over the dataset would draw the same noise
    return dataset.map(lambda x, y: (x + tf.random.normal((FEATURES,)), y))


def turned(dataset):
    turn = layers.RandomRotation(0.5)
    return dataset.map(lambda x, y: (turn(x, training=True), y))


def frame(**more):
    return pandas.DataFrame(X, columns=list("abcdef")).assign(**more)


def one_hot():
    return arrays(y=np.eye(CLASSES, dtype="float32")[Y])


def halves(make):
    def part(rows):
        return make(X[rows, :3], X[rows, 3:])

    return {
        "x": part(slice(None, N_TRAIN)),
        "y": Y_TRAIN,
        "validation_data": (part(slice(N_TRAIN, None)), Y_VAL),
    }


def columns(form=lambda column: column):
    table = pandas.DataFrame({"number": X[:, 0], "word": WORDS})

    def part(rows):
        return {name: form(table[name][rows]) for name in table}

    return {
        "x": part(slice(None, N_TRAIN)),
        "y": pandas.Series(Y_TRAIN),
        "validation_data": (part(slice(N_TRAIN, None)), pandas.Series(Y_VAL)),
    }


def image_folder(folder, **options):
    for number, label in enumerate(Y_TRAIN):
        path = folder / f"class{label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.random.default_rng(number).integers(0, 255, (8, 8, 1), dtype="uint8")
        path.write_bytes(tf.io.encode_png(picture).numpy())
    common = {"image_size": (8, 8), "color_mode": "grayscale", "verbose": False, **options}
    return keras.utils.image_dataset_from_directory(folder, **common)


def text_folder(folder):
    for number, (label, word) in enumerate(zip(Y_TRAIN, WORDS, strict=False)):
        path = folder / f"class{label}" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{word} number {number}" + " so" * (number % 5))
    return keras.utils.text_dataset_from_directory(folder, batch_size=10, seed=1, verbose=False)


def twice(given):
    return {"x": given, "validation_data": given}


def memory_map(folder):
    np.save(folder / "x.npy", X)
    return arrays(np.load(folder / "x.npy", mmap_mode="r"))


def file_of_records(folder):
    path = str(folder / "rows.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for x, y in zip(X_TRAIN, Y_TRAIN, strict=True):
            writer.write(tf.io.serialize_tensor(np.append(x, y).astype("float32")).numpy())

    def parse(record):
        row = tf.ensure_shape(tf.io.parse_tensor(record, tf.float32), (FEATURES + 1,))
        return row[:-1], tf.cast(row[-1], tf.int64)

    return {"x": tf.data.TFRecordDataset(path).map(parse), "validation_data": (X_VAL, Y_VAL)}


def streamed(train=None, validation=None, **more):
    given = {"n_train": N_TRAIN, "n_val": N_VAL, "identity": str(train), **more}
    shuffled = train or (lambda seed: dataset().shuffle(N_TRAIN, seed=seed))
    return {"x": Stream(shuffled, validation or (lambda: dataset(N_VAL)), **given)}


def streamed_by_python():
    """A set that only Python can read, such as one over a network."""

    def train(seed, epoch):
        rows = np.random.default_rng(seed).permutation(N_TRAIN)
        return generated(lambda: ((X_TRAIN[row], Y_TRAIN[row]) for row in rows))

    return streamed(train)


def streamed_records(folder):
    for name, x, y in (("train", X_TRAIN, Y_TRAIN), ("val", X_VAL, Y_VAL)):
        with tf.io.TFRecordWriter(str(folder / f"{name}.tfrecord")) as writer:
            for row in np.column_stack([x, y]).astype("float32"):
                writer.write(tf.io.serialize_tensor(row).numpy())

    def parse(record):
        row = tf.ensure_shape(tf.io.parse_tensor(record, tf.float32), (FEATURES + 1,))
        return row[:-1], tf.cast(row[-1], tf.int64)

    return {"x": Stream.from_tfrecords(folder / "train.tfrecord", parse, validation=folder / "val.tfrecord")}


def keyed():
    rows = np.arange(N_TRAIN + N_VAL)
    table = tf.constant(X)
    return {"x": Data(rows[:N_TRAIN], Y_TRAIN, rows[N_TRAIN:], Y_VAL, load=lambda x, y: (tf.gather(table, x), y))}


def sourced():
    return {"x": Data.from_source(list(zip(X_TRAIN, Y_TRAIN, strict=True)), list(zip(X_VAL, Y_VAL, strict=True)))}


def folder_of_images(folder):
    image_folder(folder)
    return {"x": Data.from_image_folder(folder, folder, image_size=(8, 8), color_mode="grayscale")}


def one_batch(given):
    return {**given, "x": Batches(N_TRAIN, 1)}


def plain(given):
    """What the examples are, as plain arrays."""
    return arrays()


PIXELS = RANDOM.integers(0, 255, (N_TRAIN + N_VAL, 8, 8, 1), dtype="uint8")
OBJECTS = np.empty(N_TRAIN, dtype=object)
OBJECTS[:] = [X_TRAIN[i, : 1 + i % 3] for i in range(N_TRAIN)]
ALONE = Form(lambda _: arrays())

FORMS = {
    # arrays and tensors
    "arrays": ALONE,
    "float16": Form(lambda _: arrays(X.astype("float16"))),
    "float64": Form(lambda _: arrays(X.astype("float64"))),
    "boolean": Form(lambda _: arrays(X > 0)),
    "integers": Form(lambda _: arrays((10 * X).astype("int16"))),
    "uint8 images": Form(lambda _: arrays(PIXELS), build=of_images),
    "one-hot labels": Form(lambda _: one_hot(), build=lambda: flat(loss="categorical_crossentropy")),
    "labels in a column": Form(lambda _: arrays(y=Y[:, None].astype("float32"))),
    "sample weights": Form(lambda _: arrays(sample_weight=np.linspace(1, 2, N_TRAIN))),
    "validation_split": Form(lambda _: {"x": X, "y": Y, "validation_split": 0.25}),
    "memory map": Form(memory_map),
    "tf tensors": Form(lambda _: arrays(tf.constant(X), tf.constant(Y))),
    "tf bfloat16": Form(lambda _: arrays(tf.cast(X, tf.bfloat16))),
    "tf.SparseTensor": Form(lambda _: training(tf.sparse.from_dense(X_TRAIN)), in_keras=plain),
    "tf.RaggedTensor": Form(lambda _: training(tf.ragged.constant([[1, 2], [3]] * 24)), r"Pad it: x_train.to_tensor()"),
    "another library's tensor": Form(lambda _: training(Tensor(X_TRAIN), Tensor(Y_TRAIN))),
    "a tensor on a card": Form(
        lambda _: training(Tensor(X_TRAIN, TypeError("can't convert cuda:0 device type tensor to numpy."))), "cuda:0"
    ),
    "a store of 128 GiB": Form(lambda _: training(Store()), "may take 1 GiB; got a input_forms.Store, 128 GiB"),
    "scipy sparse": Form(lambda _: arrays(scipy.sparse.csr_matrix(X)), in_keras=plain),
    "scipy sparse, huge": Form(
        lambda _: training(scipy.sparse.csr_matrix((48, 10**9))), "may take 1 GiB; got a sparse"
    ),
    "masked": Form(lambda _: training(np.ma.array(X_TRAIN, mask=X_TRAIN > 1)), r"no masked values; got \d+"),
    "fields": Form(lambda _: training(np.zeros(48, [("a", "f4"), ("b", "i4")])), "one type; got the fields a, b"),
    "times": Form(lambda _: training(np.arange(48).astype("M8[D]")), r"got dtype datetime64\[D\]"),
    "NaN": Form(lambda _: training(np.where(X_TRAIN > 1, np.nan, X_TRAIN)), "must not hold NaN"),
    "objects": Form(lambda _: training(X_TRAIN.astype(object)), r'Give it a type: .astype\("float32"\)'),
    "objects of lists": Form(lambda _: training(OBJECTS), "stack them: np.stack"),
    "objects with gaps": Form(lambda _: training([1.0, None] * 24), "NoneType in it. Fill in what is missing"),
    "raw bytes": Form(lambda _: training(np.zeros(48, "V8")), "got dtype .V8. View the bytes"),
    # strings
    "strings": Form(lambda _: arrays(WORDS), build=of_text, in_keras=lambda _: arrays(WORDS.astype(object))),
    "strings as objects": Form(lambda _: arrays(WORDS.astype(object)), build=of_text),
    "strings of any length": Form(
        lambda _: arrays(WORDS.astype(np.dtypes.StringDType())),
        build=of_text,
        in_keras=lambda _: arrays(WORDS.astype(object)),
    ),
    # structures and lists
    "dict of arrays": Form(lambda _: halves(lambda a, b: {"left": a, "right": b}), build=of_two),
    "tuple of arrays": Form(lambda _: halves(lambda a, b: (a, b)), build=lambda: of_two(None)),
    "list of arrays": Form(lambda _: halves(lambda a, b: [a, b]), build=lambda: of_two(None)),
    "list of tensors": Form(
        lambda _: halves(lambda a, b: [tf.constant(a), tf.constant(b)]), build=lambda: of_two(None)
    ),
    "list of numbers": Form(lambda _: training(X_TRAIN.tolist(), Y_TRAIN.tolist()), in_keras=plain),
    "buffer": Form(lambda _: training(X_TRAIN, array.array("q", Y_TRAIN.tolist())), in_keras=plain),
    "list of examples": Form(lambda _: training(list(X_TRAIN)), r"Stack examples: np.stack\(x\)"),
    "ragged list": Form(lambda _: training([[1, 2], [3]] * 24), "different lengths. Pad them"),
    # pandas
    "frame": Form(lambda _: arrays(frame(), pandas.Series(Y))),
    "frame of several numbers": Form(
        lambda _: arrays(frame(a=Y, b=Y > 0)), in_keras=lambda _: arrays(frame(a=Y, b=Y > 0).to_numpy("float32"))
    ),
    "frame of nullable numbers": Form(
        lambda _: arrays(frame(a=pandas.array(Y, dtype="Int64"))), in_keras=lambda _: arrays(frame(a=Y).to_numpy())
    ),
    "categories of numbers": Form(
        lambda _: arrays(frame(a=pandas.Categorical(Y))), in_keras=lambda _: arrays(frame(a=Y).to_numpy())
    ),
    "dict of columns": Form(lambda _: columns(), build=of_columns, in_keras=lambda _: columns(tf.constant)),
    "frame with strings": Form(lambda _: training(frame(town=WORDS)[:48]), "columns of strings, town, beside others"),
    "frame with categories": Form(
        lambda _: training(frame(town=pandas.Categorical(WORDS))[:48]), "columns of strings, town, beside others"
    ),
    "frame with times": Form(
        lambda _: training(frame(day=pandas.date_range("2024-01-01", periods=68))[:48]), r"x_train\['day'\].* got times"
    ),
    "frame of objects": Form(
        lambda _: training(frame(a=pandas.Series([True, False] * 34, dtype=object))[:48]), r"x_train\['a'\].*bool in it"
    ),
    "sparse frame": Form(lambda _: arrays(frame().astype(pandas.SparseDtype("float32", 0))), in_keras=plain),
    "index of several levels": Form(
        lambda _: training(pandas.MultiIndex.from_arrays([Y_TRAIN, Y_TRAIN])), "an index of 2 levels"
    ),
    "frame with gaps": Form(
        lambda _: training(frame(a=pandas.array([1, None] * 34, dtype="Int64"))[:48]),
        r"x_train\['a'\] must have no missing values; got 24 of 48",
    ),
    # tf.data
    "dataset": Form(lambda _: datasets()),
    "batched dataset": Form(lambda _: datasets(lambda d: d.batch(32), lambda d: d.batch(7)), note="is batched"),
    "batched, mapped, prefetched": Form(
        lambda _: datasets(lambda d: d.batch(32).map(lambda x, y: (x, y)).cache().prefetch(2)), note="is batched"
    ),
    "padded batches": Form(lambda _: datasets(lambda d: d.padded_batch(10)), note="is batched"),
    "zipped batches": Form(
        lambda _: {
            "x": tf.data.Dataset.zip(
                tf.data.Dataset.from_tensor_slices(X_TRAIN).batch(8),
                tf.data.Dataset.from_tensor_slices(Y_TRAIN).batch(8),
            ),
            "validation_data": (X_VAL, Y_VAL),
        },
        note="is batched",
    ),
    "unbatched dataset": Form(lambda _: datasets(lambda d: d.batch(32).unbatch())),
    "shuffled dataset": Form(lambda _: datasets(lambda d: d.shuffle(48).batch(32)), note="shuffles"),
    "shuffled with a seed": Form(
        lambda _: datasets(lambda d: d.shuffle(48, seed=1, reshuffle_each_iteration=False)), note="shuffles"
    ),
    "arrays, dataset to validate": Form(
        lambda _: {"x": X_TRAIN, "y": Y_TRAIN, "validation_data": dataset(N_VAL).batch(7)}, note="validation dataset"
    ),
    "dataset, arrays to validate": Form(lambda _: {"x": dataset(), "validation_data": (X_VAL, Y_VAL)}),
    "dataset with validation_split": Form(
        lambda _: {"x": tf.data.Dataset.from_tensor_slices((X, Y)), "validation_split": 0.25},
        in_keras=lambda _: {"x": X, "y": Y, "validation_split": 0.25},
    ),
    "dataset to validate only": Form(lambda _: {"x": None, "validation_data": dataset()}, "needs training data"),
    "dataset without validation": Form(lambda _: {"x": dataset()}, "judged on validation data; got none"),
    "targets beside a dataset": Form(lambda _: training(dataset()), "brings its own targets"),
    "records": Form(file_of_records),
    "generated dataset": Form(lambda _: {"x": generated(once), "validation_data": (X_VAL, Y_VAL)}),
    "generated batches": Form(
        lambda _: {
            "x": generated(
                lambda: [(X_TRAIN, Y_TRAIN)], (tf.TensorSpec((None, FEATURES)), tf.TensorSpec((None,), tf.int64))
            ),
            "validation_data": (X_VAL, Y_VAL),
        },
        r"nothing tells whether it does; .* Call .unbatch\(\)",
    ),
    "random dataset": Form(lambda _: datasets(noisy), "Two passes over the training dataset"),
    "random to validate": Form(lambda _: datasets(change_validation=noisy), "Two passes over the validation dataset"),
    "endless dataset": Form(lambda _: datasets(lambda d: d.repeat().batch(3).unbatch()), r"Remove .repeat\(\)"),
    "endless generated dataset": Form(
        lambda _: {"x": generated(endlessly), "validation_data": (X_VAL, Y_VAL)}, "assert_cardinality"
    ),
    "endless large examples": Form(
        lambda _: {
            "x": generated(
                lambda: iter(lambda: (np.zeros(2**20, "float32"), 1), None),
                (tf.TensorSpec((2**20,)), tf.TensorSpec((), tf.int32)),
            ),
            "validation_data": (X_VAL, Y_VAL),
        },
        "may take 1 GiB; got more than that|has not ended by then",
    ),
    "large dataset": Form(
        lambda _: datasets(lambda d: d.map(lambda x, y: (tf.zeros((2**23,)), y))),
        "may take 1 GiB; got 48 examples",
    ),
    "ragged dataset": Form(
        lambda _: {
            "x": tf.data.Dataset.from_tensor_slices((tf.ragged.constant([[1, 2], [3]] * 24), Y_TRAIN)),
            "validation_data": (X_VAL, Y_VAL),
        },
        "dense tensors; got RaggedTensors",
    ),
    "examples of two shapes": Form(
        lambda _: {
            "x": generated(lambda: [(X[0], 1), (X[0, :3], 2)], (tf.TensorSpec((None,)), tf.TensorSpec((), tf.int64))),
            "validation_data": (X_VAL, Y_VAL),
        },
        "have examples of one shape",
    ),
    "image_dataset_from_directory": Form(
        lambda folder: twice(image_folder(folder, batch_size=10)), build=of_images, note="shuffles"
    ),
    "images in order": Form(
        lambda folder: twice(image_folder(folder, batch_size=None, shuffle=False)), build=of_images
    ),
    "augmented image folder": Form(
        lambda folder: twice(turned(image_folder(folder))),
        "Move augmentation into the model",
    ),
    "text_dataset_from_directory": Form(lambda folder: twice(text_folder(folder)), build=of_text, note="shuffles"),
    # Keras's own datasets, generators and sequences
    "PyDataset": Form(
        lambda _: {"x": Batches(), "validation_data": (X_VAL, Y_VAL)}, note="is batched", in_keras=one_batch
    ),
    "random PyDataset": Form(
        lambda _: {"x": Batches(noise=1.0), "validation_data": (X_VAL, Y_VAL)}, "Two passes over the training dataset"
    ),
    "PyDataset without a length": Form(
        lambda _: {"x": Batches(count=None), "validation_data": (X_VAL, Y_VAL)}, "reading it raised TypeError"
    ),
    "PyDataset of 10^12 batches": Form(
        lambda _: {"x": Batches(count=10**12), "validation_data": (X_VAL, Y_VAL)}, "may take 1 GiB; got 1"
    ),
    "generator": Form(lambda _: training(endlessly(), None), r"got an iterator \(generator\)"),
    "iterator over a dataset": Form(lambda _: training(iter(dataset()), None), "got an iterator"),
    "sequence without an end": Form(lambda _: training(Endless()), "got a sequence of its own kind"),
    "sequence of 10^12": Form(lambda _: training(Endless(10**12)), "got a sequence of its own kind"),
    "list that never ends": Form(lambda _: training(X_TRAIN, EndlessList(Y_TRAIN.tolist())), in_keras=plain),
    "list of endless sequences": Form(
        lambda _: training([Endless()] * 48), "got a list with input_forms.Endless in it"
    ),
    "range of 10^12": Form(lambda _: training(range(10**12)), "may take 1 GiB; got a range"),
    # what is made when it is needed
    "keys and a load": Form(lambda _: keyed(), in_keras=plain),
    "source": Form(lambda _: sourced(), in_keras=plain),
    "folder of images": Form(
        folder_of_images,
        build=of_images,
        in_keras=lambda given: twice(whole(image_folder(Path(given["x"].load.folder), shuffle=False, batch_size=None))),
    ),
    "Stream": Form(lambda _: streamed(), in_keras=plain),
    "Stream that Python makes": Form(lambda _: streamed_by_python(), in_keras=plain),
    "Stream of TFRecords": Form(streamed_records, in_keras=plain),
    "Stream without identity": Form(lambda _: streamed(identity=""), "identity must tell these examples from others"),
    "dataset in place of a factory": Form(lambda _: streamed(dataset()), "must be a function .* Write train=lambda"),
    "a file's name": Form(lambda _: training("data.npz"), r"Data.from_npz\(path\)"),
    "a function": Form(lambda _: training(once), "must be an array, or a dict, tuple or list of arrays; got function"),
}
