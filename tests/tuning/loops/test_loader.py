"""Examples that are made of their keys: by TensorFlow or by Python, the same ones, or a reason in one line."""

from __future__ import annotations

import functools
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from training_helpers import N_TRAIN, N_VAL, Recorder, assert_same_history, dense_model, make_data, make_trial

from search_spaces.data import Data, DataError
from search_spaces.loading import Reading
from tuning.loops.arrays import DataPlacement, as_keras_sees_them
from tuning.loops.loading_pipeline import pipeline_for
from tuning.loops.order import ExampleOrder, example_seeds
from tuning.loops.session import TrainingSession
from tuning.messages import (
    INPUT_SECONDS,
    DescribeRequest,
    Inference,
    InferenceRequest,
    MemoryProbe,
    MemoryProbeRequest,
    ModelDescription,
    Throughput,
    ThroughputRequest,
)
from tuning.noise_messages import NoiseScaleRequest, NoiseScales
from tuning.trial import Status

DATA = make_data()
ROWS = np.concatenate([DATA.x_train, DATA.x_val])
TENSOR = tf.constant(ROWS)


def traced(x, y):
    return tf.gather(TENSOR, x), y


def in_python(x, y):
    return ROWS[int(x)].tolist(), y


def augmented(x, y, seed):
    return tf.gather(TENSOR, x) + 0.1 * tf.random.stateless_normal((ROWS.shape[1],), seed), y


def keyed(load=traced, load_val=None, y=DATA.y_train, **weights):
    """The data of `make_data` behind their numbers."""
    return Data(
        np.arange(N_TRAIN), y, np.arange(N_TRAIN, N_TRAIN + N_VAL), DATA.y_val, load=load, load_val=load_val, **weights
    )


def eager_model():
    """Its few updates take less time one by one than to be traced."""
    return dense_model(run_eagerly=True)


def history_of(data, trial=None, build=eager_model, **session):
    recorder = Recorder()
    outcome = TrainingSession(build, data, **session).train(trial or make_trial(7, epochs=2, loop="keras"), recorder)
    assert outcome.status is Status.COMPLETED, outcome.log_tail
    return recorder.history


@functools.cache
def history_of_arrays():
    return history_of(DATA)


@pytest.mark.parametrize("load", [traced, in_python], ids=["traced", "called"])
def test_training_on_keys_is_training_on_the_examples(load):
    assert as_keras_sees_them(keyed(load), None).loader.is_traced is (load is traced)
    assert history_of(keyed(load)) == history_of_arrays()


@pytest.mark.parametrize(
    ("weights", "class_weight"),
    [
        ({"sample_weight_train": np.arange(N_TRAIN) / N_TRAIN, "sample_weight_val": np.ones(N_VAL)}, None),
        ({}, {0: 2.0, 2: 0.5}),
    ],
    ids=["sample weights", "class weights"],
)
def test_weights_stand_beside_what_is_loaded_as_beside_arrays(weights, class_weight):
    found, expected = (as_keras_sees_them(data, class_weight) for data in (keyed(**weights), make_data(**weights)))
    for part in ("training_examples", "validation_examples"):
        pairs = zip(getattr(found, part)(9), getattr(expected, part)(9), strict=True)
        assert all(np.array_equal(mine, theirs) for mine, theirs in pairs)
    order = ExampleOrder(N_TRAIN, 8, seed=1)
    pipelines = (pipeline_for(DataPlacement(arrays), order) for arrays in (found, expected))
    for mine, theirs in zip(*(pipeline.dataset.as_numpy_iterator() for pipeline in pipelines), strict=True):
        assert all(np.array_equal(part, other) for part, other in zip(mine, theirs, strict=True))
        assert len(mine) == 3


@pytest.mark.parametrize("labels", [lambda y: y, lambda y: y[None], lambda y: tf.one_hot(y, 3)])
def test_class_weights_follow_the_labels_that_are_loaded(labels):
    data = keyed(lambda x, y: (tf.gather(TENSOR, x), labels(y)))
    weights = as_keras_sees_them(data, {0: 2.0, 2: 0.5}).training_examples(9)[2]
    np.testing.assert_allclose(weights, [{0: 2.0, 1: 1.0, 2: 0.5}[label] for label in DATA.y_train[:9]])


def test_a_loop_for_examples_on_the_device_says_why_it_cannot():
    session = TrainingSession(dense_model, keyed())
    outcome = session.train(make_trial(7, loop="device"), Recorder())
    assert (outcome.status, "its examples are loaded when they are needed" in outcome.reason) == (Status.FAILED, True)
    outcome = session.train(make_trial(7, loop="auto", epochs=1), Recorder())
    assert (outcome.status, outcome.loop) == (Status.COMPLETED, "keras")


def pairs_of(batch_size, examples):
    """The first (row, seed) pairs that a pipeline loads."""
    data = Data(
        np.arange(30), None, np.arange(4), None, load=lambda x, seed: {"row": x, "seed": seed}, load_val=lambda x: x
    )
    arrays = as_keras_sees_them(data, None)
    order = ExampleOrder(30, batch_size, seed=5)
    pipeline = pipeline_for(DataPlacement(arrays), order)
    found, epoch = [], 0
    while sum(map(len, found)) < examples:
        pipeline.begin(epoch)
        batches = list(pipeline.dataset.as_numpy_iterator())
        assert {len(batch["row"]) for batch in batches} == {batch_size}
        found += [np.column_stack([batch["row"], batch["seed"]]) for batch in batches]
        epoch += 1
    return np.concatenate(found)[:examples]


def test_the_stream_of_examples_and_seeds_is_the_same_at_every_batch_size():
    first, *others = (pairs_of(size, 150) for size in (1, 7, 29, 30))
    for pairs in others:
        np.testing.assert_array_equal(pairs, first)
    assert len({tuple(pair) for pair in first[:, 1:].tolist()}) == 150  # a seed is used once
    np.testing.assert_array_equal(first[30:60, 1:], example_seeds(5, 1, first[30:60, 0]))
    assert first.min() >= 0


def test_augmentation_differs_from_epoch_to_epoch_and_seed_to_seed_and_comes_again():
    trials = [make_trial(10, seed=seed, epochs=2, loop="keras") for seed in (0, 0, 1)]
    first, again, other = (history_of(keyed(augmented, traced), trial) for trial in trials)
    assert first == again != other
    assert not np.array_equal(example_seeds(0, 0, np.arange(3)), example_seeds(0, 1, np.arange(3)))
    assert not np.array_equal(example_seeds(0, 0, np.arange(3)), example_seeds(1, 0, np.arange(3)))


def test_preprocessing_layers_of_keras_may_be_used():
    texts = np.array(["a b", "b", "c a", "a"] * 10, dtype=object)
    layer = keras.layers.TextVectorization(output_mode="multi_hot", output_sequence_length=None)
    layer.adapt(["a b c"])
    scale = keras.layers.Rescaling(0.5)
    data = Data(texts, np.arange(40) % 2, texts, np.arange(40) % 2, load=lambda x, y: (scale(layer(x)), y))
    (x, y), spec = as_keras_sees_them(data, None).training_examples(2), as_keras_sees_them(data, None).loader.spec
    np.testing.assert_allclose(x, 0.5 * layer(tf.constant(texts[:2])).numpy())
    assert (spec[0].shape, x.dtype, y.tolist()) == ((4,), "float32", [0, 1])


def test_python_is_given_text_as_text_and_sizes_are_taken_from_the_first_example():
    lengths = as_keras_sees_them(
        Data(
            np.array(["é", "bcd"]), None, np.array(["a"]), None, load=lambda x: np.array([len(x), x.upper() == "BCD"])
        ),
        None,
    )
    np.testing.assert_array_equal(lengths.training_examples(2)[0], [[1, 0], [3, 1]])
    numbers = Data(
        np.array(["1 2"]), None, np.array(["3 4"]), None, load=lambda x: tf.strings.to_number(tf.strings.split(x))
    )
    assert as_keras_sees_them(numbers, None).loader.spec[0].shape == (2,)


def test_a_source_is_read_by_python_and_what_follows_is_traced():
    items = [{"image": np.full((2 + i, 3), i), "label": i % 2} for i in range(4)]

    def then(item, seed):
        assert tf.is_tensor(seed)
        return tf.reduce_sum(item["image"], 0), item["label"]

    data = Data(
        np.arange(4),
        None,
        np.arange(4),
        None,
        load=Reading(items.__getitem__, then),
        load_val=Reading(lambda i: (i, i)),
    )
    arrays = as_keras_sees_them(data, None)
    x, y = arrays.training_examples(4)
    np.testing.assert_array_equal(x, [[0] * 3, [3] * 3, [8] * 3, [15] * 3])
    np.testing.assert_array_equal(y, [0, 1, 0, 1])
    assert arrays.loader.python_reason == "a source is read by Python"
    assert [part.tolist() for part in arrays.validation_examples(2)] == [[0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda x, y: x, r"load must return \(x, y\) or \(x, y, sample_weight\); got 1 parts"),
        (lambda x, y: (x, y, x, y), r"got 4 parts"),
        (
            lambda x, y: (tf.io.read_file("absent"), y),
            "it raised NotFoundError: absent; No such file or directory. Call",
        ),
        (
            lambda x, y: (Path(f"absent-{x}").read_bytes(), y),
            "raised FileNotFoundError.*, and when TensorFlow traced it, FileNotFound",
        ),
        (lambda x, y: (ROWS[: int(x) + 1, 0], y), r"Examples must have one shape; got \(2,\) after \(1,\)"),
        (lambda x, y: (tf.range(x), y), "of the same shape"),
        (
            lambda x, y: (tf.RaggedTensor.from_row_lengths([1, 2], [1, 1]), y),
            "dense tensors.*RaggedTensorSpec. Pad them",
        ),
        (
            lambda x, y: (tf.random.normal((3,)), y),
            "the same example of the same keys and seed; this one draws by chance",
        ),
        (lambda x, y: (float(np.random.normal()) * tf.ones(3), y), "draws by chance. Draw from seed"),
        (lambda x, y: (ROWS[int(x)] * np.random.normal(), y), "draws by chance"),
    ],
)
@pytest.mark.filterwarnings("ignore:Seed 1 from outer graph")
def test_what_cannot_be_trained_on_is_told_in_one_line(load, message):
    with pytest.raises(DataError, match=message) as caught:
        as_keras_sees_them(keyed(load), None).refuse_chance()
    assert "\n" not in str(caught.value)


def test_labels_are_those_that_are_loaded():
    odd = keyed(lambda x, y: (tf.gather(TENSOR, x), y % 3), y=DATA.y_train + 30)  # no classes of the model before
    told = TrainingSession(dense_model, odd).describe(DescribeRequest("d", {}))
    assert isinstance(told, ModelDescription), told.reason


def test_a_description_tells_shapes_and_who_makes_the_examples():
    told = TrainingSession(dense_model, keyed(in_python)).describe(DescribeRequest("d", {}))
    assert isinstance(told, ModelDescription)
    assert told.input_shape == (None, ROWS.shape[1])
    assert told.python_load.startswith("TensorFlow cannot trace load (NotImplementedError: Cannot convert")
    refused = TrainingSession(dense_model, keyed(lambda x, y: x)).describe(DescribeRequest("d", {}))
    assert refused.reason.startswith("load must return (x, y)")


class HandsOn(keras_tuner.HyperModel):
    def build(self, hp):
        return eager_model()

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **kwargs)


class Cuts(HandsOn):
    def fit(self, hp, model, x, y, **kwargs):
        return model.fit(x[:40], y[:40], **kwargs)


class TrainsByItself(HandsOn):
    def fit(self, hp, model, x, y, **kwargs):
        return 0.5


def test_a_fit_of_the_user_hands_keys_on_or_is_refused():
    trial = make_trial(7, epochs=2, loop="keras")
    assert history_of(keyed(), trial, HandsOn()) == history_of_arrays()
    outcome = TrainingSession(Cuts(), keyed()).train(trial, Recorder())
    assert "must hand on data with load as it is given them" in outcome.reason
    outcome = TrainingSession(TrainsByItself(), keyed()).describe(DescribeRequest("d", {}))
    assert "by a loop of its own takes arrays; got data with load" in outcome.reason


def test_a_model_under_a_strategy_trains_on_what_is_loaded():
    def build():
        with tf.distribute.OneDeviceStrategy("CPU:0").scope():
            return dense_model()

    assert_same_history(history_of(keyed(), build=build), history_of_arrays())


def test_every_probe_loads_real_examples():
    session = TrainingSession(dense_model, keyed(augmented, traced))
    requests = {
        MemoryProbe: MemoryProbeRequest("m", 8),
        Throughput: ThroughputRequest("t", 8, loop="keras", chunks=1, chunk_seconds=0.01),
        NoiseScales: NoiseScaleRequest("n", 8, updates=3, micro_batch_size=4, fractions=(0.0, 1.0)),
        Inference: InferenceRequest("i", 8, least_seconds=0.0, least_calls=3),
    }
    answers = {kind: session.probe(request) for kind, request in requests.items()}
    assert {kind: type(answer) for kind, answer in answers.items()} == {kind: kind for kind in answers}, answers
    assert answers[Throughput].input_seconds_per_update > 0
    assert all(point.trace_of_covariance > 0 for point in answers[NoiseScales].points)


def test_long_trainings_tell_what_their_pipeline_takes_alone():
    session = TrainingSession(dense_model, keyed())
    outcomes = [session.train(make_trial(1, epochs=epochs, loop="keras"), Recorder()) for epochs in (1, 2, 1)]
    told = [outcome.measurements.get(INPUT_SECONDS) for outcome in outcomes]
    assert told[0] is None
    assert told[1] == told[2] > 0  # once timed, it is known
