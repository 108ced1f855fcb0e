"""Examples that are loaded while a trial trains: the same at every batch size, as plain Keras trains, and as fast.

    python benchmarks/input_pipeline.py                  # four parts, about fifteen minutes on two cores
    python benchmarks/input_pipeline.py --only speed     # of pairs, losses, speed and stream

A folder of JPEG files is made in a temporary directory, and read with `Data.from_image_folder`: decoding, resizing, and
augmentation by seed.

- pairs: the first 10,000 (image, seed of its augmentation) are the same ones at batch sizes 8, 100 and 512, also in a
  search whose driver is killed and that goes on.
- losses: a trial's losses are those of a script of plain Keras with the same order, dense and convolutional.
- speed: examples per second of whole epochs of `fit`, against a pipeline written by hand as TensorFlow's guide does.
  Both train by turns; the ratio of medians should be at least .95. On a machine that others use, the seconds of
  processor time of an epoch tell more.
- stream: the same of TFRecord files.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from search_spaces import BatchSize, Data, Setting, Stream
from tuning import GridSearch
from tuning.instructions import Budget, Instructions
from tuning.loops.arrays import DataPlacement, as_keras_sees_them
from tuning.loops.callbacks import TrainingClock
from tuning.loops.loading_pipeline import pipeline_for
from tuning.loops.model_builder import ModelBuilder
from tuning.loops.order import ExampleOrder
from tuning.loops.planner import Planner
from tuning.loops.session import TrainingSession
from tuning.trial import EpochReport, Trial

SIDE = 64
IMAGES = 2400
ROUNDS, EPOCHS = 3, 3
PAIRS, SIZES_OF_PAIRS = 10_000, (8, 100, 512)


def augment(image: Any, seed: Any) -> Any:
    """Flip, shift and brighten by a seed."""
    flipped = tf.image.stateless_random_flip_left_right(image, seed)
    padded = tf.pad(flipped, [[4, 4], [4, 4], [0, 0]])
    cropped = tf.image.stateless_random_crop(padded, (SIDE, SIDE, 3), seed)
    return tf.image.stateless_random_brightness(cropped, 20.0, seed)


def build_cnn() -> keras.Model:
    """Two convolutions."""
    layers = [
        keras.Input((SIDE, SIDE, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
        keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10, activation="softmax"),
    ]
    return compiled(layers)


def build_dense() -> keras.Model:
    """One hidden layer."""
    layers = [
        keras.Input((SIDE, SIDE, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
    return compiled(layers)


def compiled(layers: list[Any]) -> keras.Model:
    """The layers as a model with Adam."""
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def write_folder(root: Path, count: int) -> Path:
    """JPEG files of 96x80 in ten classes."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = root / f"class-{number % 10}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype="uint8"))
        coarse.resize((80, 96)).save(path, quality=90)
    return root


def pairs_of(data: Data, batch_size: int, count: int) -> np.ndarray[Any, Any]:
    """The first (row, seed) pairs of a training, as the pipeline serves them."""
    keyed = Data(
        np.arange(data.n_train), None, np.arange(2), None, load=lambda x, seed: (x, seed), load_val=lambda x: (x, x)
    )
    placement = DataPlacement(as_keras_sees_them(keyed, None))
    pipeline = pipeline_for(placement, ExampleOrder(data.n_train, batch_size, seed=1))
    found: list[Any] = []
    epoch = 0
    while sum(map(len, found)) < count:
        pipeline.begin(epoch)
        found += [np.column_stack(batch) for batch in pipeline.dataset.as_numpy_iterator()]
        epoch += 1
    return np.concatenate(found)[:count]


def show_pairs(data: Data) -> None:
    """Compare the streams of three batch sizes, also of a search that was killed and went on."""
    first, *others = (pairs_of(data, size, PAIRS) for size in SIZES_OF_PAIRS)
    same = all(np.array_equal(first, other) for other in others)
    print(f"pairs   the first {PAIRS:,} at {SIZES_OF_PAIRS}: {'equal' if same else 'DIFFERENT'}")
    with tempfile.TemporaryDirectory() as directory:
        told = searched_pairs(Path(directory))
    whole = max(told.values(), key=len)
    same = len(whole) == PAIRS and all(np.array_equal(pairs, whole[: len(pairs)]) for pairs in told.values())
    lengths = ", ".join(f"{name} {len(pairs):,}" for name, pairs in sorted(told.items()))
    print(f"pairs   of a search killed by SIGKILL that went on ({lengths}): {'equal' if same else 'DIFFERENT'}")


class Watched(keras.Model):
    """Writes down every batch that it trains on."""

    def train_step(self, data: Any) -> Any:
        tf.numpy_function(write_pairs, [data[0]], [])
        return super().train_step(data)


def write_pairs(x: np.ndarray[Any, Any]) -> None:
    """Append to the file of this process and batch size in the working directory."""
    with open(f"pairs-{len(x)}-{os.getpid()}", "ab") as file:
        file.write(x.tobytes())


def build_watched() -> keras.Model:
    """A model of rows and seeds that writes them down."""
    inputs = keras.Input((3,), dtype="int32")
    model = Watched(inputs, keras.layers.Dense(1)(keras.layers.Rescaling(1e-10)(inputs)))
    model.compile("sgd", "mse")
    return model


def search_pairs() -> None:
    """Search in the working directory, or go on, each size for `PAIRS` examples."""
    rows, targets = np.arange(PAIRS // 5, dtype="int32"), np.zeros(PAIRS // 5)
    data = Data(
        rows,
        targets,
        rows,
        targets,
        load=lambda x, y, seed: (tf.concat([[x], seed], 0), y),
        load_val=lambda x, y: (tf.stack([x, x, x]), y),
    )
    options = {"tracking_uri": "sqlite:///mlflow.db", "quiet": True, "loop": "keras", "threads": 1, "workers": 1}
    GridSearch(build_watched, batch_size=BatchSize.of(*SIZES_OF_PAIRS), seeds=1, **options).search(data, epochs=5)


def searched_pairs(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What the trials of a search trained on, by batch size and process, of which some were killed half-way."""
    command = [sys.executable, str(Path(__file__).resolve()), "--search-pairs"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(command, cwd=folder, env=environment) as driver:
        while len(list(folder.glob("pairs-*"))) < 3 and driver.poll() is None:  # that of the description is the first
            time.sleep(0.01)
        driver.kill()
    subprocess.run(command, cwd=folder, env=environment, check=True)
    found = {}
    for file in folder.glob("pairs-*"):
        _, size, process = file.name.split("-")
        if int(size) in SIZES_OF_PAIRS:
            content = file.read_bytes()
            pairs = np.frombuffer(content[: len(content) // 12 * 12], "int32").reshape(-1, 3)
            found[f"batch {size} in {process}"] = pairs[: PAIRS // int(size) * int(size)]  # timings follow in the file
    return found


def trial_of(batch_size: int, epochs: int) -> Trial:
    """A trial of the keras loop, with the model's own rate."""
    instructions = Instructions(loop="keras")
    return Trial(Setting(batch_size, None), 3, budget=Budget(epochs), trial_id="b", instructions=instructions)


def losses_of(build: Callable[[], keras.Model], data: Data, trial: Trial) -> list[float]:
    """The losses of a trial's epochs."""
    losses: list[float] = []

    def report(epoch: EpochReport) -> bool:
        losses.append(epoch.metrics["loss"])
        return True

    TrainingSession(build, data).train(trial, report)
    return losses


def plain_losses(build: Callable[[], keras.Model], data: Data, trial: Trial) -> list[float]:
    """The losses of `fit` on the same examples in the same order, in a few lines of plain Keras."""
    order = ExampleOrder(data.n_train, trial.batch_size, trial.seed)
    seeds = np.concatenate([order.seeds(epoch) for epoch in range(trial.budget.epochs)])
    names, labels = tf.constant(data.x_train), tf.constant(data.y_train)
    dataset = tf.data.Dataset.from_tensor_slices(seeds.reshape(-1, 2)).map(
        lambda seed: data.load(tf.gather(names, seed[1]), tf.gather(labels, seed[1]), seed)
    )
    keras.utils.set_random_seed(trial.seed)
    steps = order.least_updates
    history = build().fit(
        dataset.batch(trial.batch_size), epochs=trial.budget.epochs, steps_per_epoch=steps, verbose=0, shuffle=False
    )
    return [float(loss) for loss in history.history["loss"]]


def show_losses(data: Data) -> None:
    """Compare the losses of trials with those of scripts."""
    for build in (build_dense, build_cnn):
        for size in (8, 48):  # both divide the 2,160 images, so that every epoch has as many updates
            trial = trial_of(size, 2)
            losses, expected = losses_of(build, data, trial), plain_losses(build, data, trial)
            off = max(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True))
            print(f"losses  {build.__name__:12} batch {size:3}: largest relative difference {off:.1e}")


def by_hand(data: Data, batch_size: int) -> tf.data.Dataset:
    """The pipeline of TensorFlow's guide: shuffle, map in parallel, batch, prefetch."""
    counted = tf.data.Dataset.from_tensor_slices((data.x_train, data.y_train)).enumerate()
    shuffled = counted.shuffle(data.n_train)

    def load(number: Any, keys: Any) -> Any:
        seed = tf.stack([tf.constant(0, tf.int32), tf.cast(number, tf.int32)])
        return data.load(*keys, seed)

    loaded = shuffled.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    return loaded.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


class Epochs(keras.callbacks.Callback):
    """Times whole epochs but the first: by the clock, and in seconds of processor time of all threads."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[tuple[float, float]] = []
        self._begin = (0.0, 0.0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begin = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch:
            self.seconds.append((time.perf_counter() - self._begin[0], time.process_time() - self._begin[1]))


def timed_by_hand(dataset: tf.data.Dataset) -> list[tuple[float, float]]:
    """Seconds of epochs of a script."""
    watch = Epochs()
    build_cnn().fit(dataset, epochs=1 + EPOCHS, callbacks=[watch], verbose=0)
    return watch.seconds


def timed_here(data: Data | Stream, size: int) -> list[tuple[float, float]]:
    """Seconds of epochs of a trial, without validation, as the script has none."""
    planner = Planner(ModelBuilder(build_cnn), as_keras_sees_them(data, None))
    order = ExampleOrder(data.n_train, size, seed=0)
    plan = planner.plan(trial_of(size, 1 + EPOCHS), order, TrainingClock(counts_gaps=True))
    watch, arguments = Epochs(), {k: v for k, v in plan.arguments.items() if not k.startswith("validation")}
    plan.model.fit(**arguments, epochs=1 + EPOCHS, callbacks=[watch], verbose=0)
    return watch.seconds


def show_speed(data: Data) -> None:
    """Time both pipelines of a folder."""
    compare("speed ", data, lambda size: by_hand(data, size))


def show_stream(data: Data) -> None:
    """Time both pipelines of TFRecord files."""
    with tempfile.TemporaryDirectory() as directory:
        files = write_records(Path(directory), data)
        stream = Stream.from_tfrecords(files, parse, validation=files, parse_val=lambda record: parse(record, [0, 0]))
        compare("stream", stream, lambda size: records_by_hand(files, size, data.n_train))


def write_records(folder: Path, data: Data) -> list[str]:
    """The images of a folder as four files of records, as they are encoded."""
    files = [str(folder / f"{number}.tfrecord") for number in range(4)]
    for number, file in enumerate(files):
        with tf.io.TFRecordWriter(file) as writer:
            for name, label in zip(data.x_train[number::4], data.y_train[number::4], strict=True):
                encoded = Path(data.load.read.folder, os.fsdecode(name)).read_bytes()
                writer.write(bytes([label]) + encoded)
    return files


def parse(record: Any, seed: Any) -> Any:
    """An image and its label, which is the first byte."""
    image = tf.io.decode_jpeg(tf.strings.substr(record, 1, -1), channels=3)
    label = tf.cast(tf.io.decode_raw(tf.strings.substr(record, 0, 1), tf.uint8)[0], tf.int32)
    return augment(tf.ensure_shape(tf.image.resize(image, (SIDE, SIDE)), (SIDE, SIDE, 3)), seed), label


def records_by_hand(files: list[str], batch_size: int, count: int) -> tf.data.Dataset:
    """The pipeline of TensorFlow's guide for records."""
    counted = tf.data.TFRecordDataset(files, num_parallel_reads=tf.data.AUTOTUNE).shuffle(count).enumerate()
    parsed = counted.map(
        lambda number, record: parse(record, tf.stack([0, tf.cast(number, tf.int32)])),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return parsed.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def compare(name: str, data: Data | Stream, make: Callable[[int], tf.data.Dataset]) -> None:
    """Time trials on some data, and scripts on what is made for a batch size, by turns."""
    for size in (8, 32, 256):
        hand: list[tuple[float, float]] = []
        here: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            hand += timed_by_hand(make(size))
            here += timed_here(data, size)
        (wall, cpu), (wall_here, cpu_here) = (map(statistics.median, zip(*each, strict=True)) for each in (hand, here))
        rate = data.n_train / wall
        print(
            f"{name}  batch {size:3}: by hand {rate:6,.0f} examples/s; ratio of medians {wall / wall_here:.3f}, "
            f"of processor time {cpu / cpu_here:.3f}",
            flush=True,
        )


def parts(names: str | None) -> Iterator[Callable[[Data], None]]:
    """The parts asked for."""
    shown = {"pairs": show_pairs, "losses": show_losses, "speed": show_speed, "stream": show_stream}
    yield from (show for name, show in shown.items() if names in (None, name))


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("pairs", "losses", "speed", "stream"))
    parser.add_argument("--search-pairs", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.search_pairs:
        search_pairs()
        return
    with tempfile.TemporaryDirectory() as directory:
        folder = write_folder(Path(directory), IMAGES)
        data = Data.from_image_folder(folder, validation_split=0.1, image_size=(SIDE, SIDE), augment=augment)
        for show in parts(asked.only):
            show(data)


if __name__ == "__main__":
    main()
