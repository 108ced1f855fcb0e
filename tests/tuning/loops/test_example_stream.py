"""Streams: the order, the epochs and the examples that a script of plain Keras would train on, or one line."""

from __future__ import annotations

import functools
import warnings

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from training_helpers import N_TRAIN, N_VAL, Recorder, assert_same_history, dense_model, make_data, make_trial

from search_spaces.data import DataError
from search_spaces.stream import Stream
from tuning.loops.arrays import as_keras_sees_them
from tuning.loops.example_stream import ExampleStream
from tuning.loops.order import ExampleOrder
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
SEED = 3


def slices(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays)


def validation():
    return slices(DATA.x_val, DATA.y_val)


def shuffled(seed, epoch):
    return slices(DATA.x_train, DATA.y_train).shuffle(N_TRAIN, seed=seed)


def in_the_order_of_arrays(seed, epoch):
    """The examples in the order in which trials of `SEED` on arrays take them."""
    rows = ExampleOrder(N_TRAIN, N_TRAIN, SEED).rows(epoch)[0]
    return slices(DATA.x_train[rows].astype("float64"), DATA.y_train[rows])


def stream(train=shuffled, validation=validation, n_train=N_TRAIN, n_val=N_VAL, **more):
    return Stream(train, validation, n_train, n_val, identity="made up", **more)


def history_of(data, trial=None, build=dense_model, **session):
    recorder = Recorder()
    trial = trial or make_trial(7, epochs=3, loop="keras", seed=SEED)
    outcome = TrainingSession(build, data, **session).train(trial, recorder)
    assert outcome.status is Status.COMPLETED, outcome.log_tail
    return recorder.history


@functools.cache
def history_of_arrays(weighted=False):
    return history_of(DATA, fit_options={"class_weight": {0: 2.0, 2: 0.5}} if weighted else None)


def test_training_on_a_stream_is_training_on_its_examples():
    assert history_of(stream(in_the_order_of_arrays)) == history_of_arrays()


def test_class_weights_follow_the_labels_that_stream():
    options = {"class_weight": {0: 2.0, 2: 0.5}}
    assert history_of(stream(in_the_order_of_arrays), fit_options=options) == history_of_arrays(weighted=True)
    weighted = stream(lambda seed, epoch: slices(DATA.x_train, DATA.y_train, DATA.y_train), validation)
    with pytest.raises(ValueError, match="exclude each other"):
        as_keras_sees_them(weighted, {0: 2.0})


def test_an_update_per_call_or_several_do_the_same():
    def build():
        return dense_model(steps_per_execution=3)

    assert_same_history(history_of(stream(in_the_order_of_arrays), build=build), history_of_arrays())


def test_a_model_under_a_strategy_trains_on_a_stream():
    def build():
        with tf.distribute.OneDeviceStrategy("CPU:0").scope():
            return dense_model()

    assert_same_history(history_of(stream(in_the_order_of_arrays), build=build), history_of_arrays())


def test_epochs_may_be_parts_of_the_stream():
    short = stream(in_the_order_of_arrays, examples_per_epoch=25)
    found = history_of(short, make_trial(7, epochs=6, loop="keras", seed=SEED))
    assert [epoch["val_loss"] for epoch in found[1::2]] == [epoch["val_loss"] for epoch in history_of_arrays()]


def rows_of(batch_size, count, made=None):
    """The first examples that a trial reads, by their numbers."""

    def numbered(seed, epoch):
        (made if made is not None else []).append(epoch)
        return tf.data.Dataset.range(30 * epoch, 30 * (epoch + 1)).shuffle(30, seed=seed)

    source = ExampleStream(stream(numbered, lambda: tf.data.Dataset.range(4), n_train=30, n_val=4))
    batches = source.training_batches(SEED, batch_size).take(-(-count // batch_size)).as_numpy_iterator()
    return np.concatenate([x for (x,) in batches])[:count]


def test_the_stream_is_the_same_at_every_batch_size():
    first, *others = (rows_of(size, 150) for size in (1, 7, 29, 30))
    for rows in others:
        np.testing.assert_array_equal(rows, first)
    for epoch in range(5):
        assert sorted(first[30 * epoch : 30 * (epoch + 1)]) == list(range(30 * epoch, 30 * (epoch + 1)))
    assert not np.array_equal(first[:30], first[30:60] - 30)


def records_of(folder, batch_size, count):
    """The first records that a trial reads, and the seeds that they are made with, `(count, 3)`."""
    for part in range(2):
        with tf.io.TFRecordWriter(str(folder / f"{part}.tfrecord")) as writer:
            for number in range(10 * part, 10 * part + 10):
                writer.write(str(number).encode())

    def parse(record, seed):
        return tf.concat([[tf.strings.to_number(record, tf.int32)], seed], 0)

    def parse_val(record):
        return parse(record, [0, 0])

    files = str(folder / "*.tfrecord")
    source = ExampleStream(Stream.from_tfrecords(files, parse, validation=files, parse_val=parse_val))
    batches = source.training_batches(SEED, batch_size).take(-(-count // batch_size)).as_numpy_iterator()
    return np.concatenate([x for (x,) in batches])[:count]


def test_records_and_their_seeds_are_the_same_at_every_batch_size(tmp_path):
    tf.random.set_seed(0)  # as in a trial of this seed
    first = records_of(tmp_path, 1, 60)
    tf.random.set_seed(5)
    for size in (7, 20):
        np.testing.assert_array_equal(records_of(tmp_path, size, 60), first)
    epochs = first.reshape(3, 20, 3)
    assert all(sorted(epoch[:, 0]) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch[:, 0]) for epoch in epochs}) == len({int(epoch[0, 1]) for epoch in epochs}) == 3
    assert (epochs[:, :, 1] == epochs[:, :1, 1]).all()
    assert (epochs[:, :, 2] == np.arange(20)).all()


def test_epochs_are_made_when_their_turn_comes():
    made: list[int] = []
    rows_of(10, 60, made)
    assert made[-1] <= 2


def test_sizes_left_open_are_those_of_the_first_example():
    def open_ended():
        signature = (tf.TensorSpec((None,)), tf.TensorSpec((), tf.int64))
        return tf.data.Dataset.from_generator(
            lambda: zip(DATA.x_train, DATA.y_train, strict=True), output_signature=signature
        )

    source = ExampleStream(stream(lambda seed: open_ended().shuffle(50, seed=seed), open_ended))
    assert [spec.shape.as_list() for spec in source.spec] == [[6], []]
    (x, y) = source.training_examples(4)
    assert (x.shape, y.shape) == ((4, 6), (4,))


ONCE = iter(range(10**6))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": lambda seed: slices(DATA.x_train, DATA.y_train)}, "another order of another seed; the first 50"),
        (
            {"train": lambda seed, epoch: slices(DATA.x_train, DATA.y_train).shuffle(50, seed=epoch)},
            "another order of another seed",
        ),
        (
            {"train": lambda seed: slices(DATA.x_train, DATA.y_train).shuffle(50, seed=next(ONCE))},
            r"the same examples of the same seed; .* Pass seed to shuffle\(\)",
        ),
        ({"train": lambda seed: shuffled(seed, 0).batch(8)}, r"single examples; got batches.*Call .unbatch\(\)"),
        ({"train": lambda seed: DATA.x_train}, "must return a tf.data.Dataset; got ndarray"),
        ({"train": lambda seed: [][0]}, "train of a Stream .* it raised IndexError: list index out of range. Call it"),
        (
            {"train": lambda seed: slices(DATA.x_train).map(lambda x: tf.io.read_file("absent"))},
            "train of a Stream .*raised NotFoundError.*absent",
        ),
        ({"train": lambda seed: shuffled(seed, 0), "n_train": 51}, "as many examples as n_train tells, 51; got 50"),
        ({"n_val": N_VAL + 1}, f"as many examples as n_val tells, {N_VAL + 1}; got {N_VAL}"),
        ({"validation": lambda: validation().shuffle(50)}, "validation of a Stream must always make the same"),
        ({"train": lambda seed: tf.data.Dataset.from_tensors(0).filter(lambda x: False)}, "tells, 50; got 0"),
        (
            {"train": lambda seed: slices(tf.ragged.constant([[1, 2], [3]] * 25))},
            "examples of one shape; it raised InvalidArgumentError: .*Cannot batch tensors with different shapes",
        ),
        (
            {"train": lambda seed: slices(DATA.y_train).map(lambda y: tf.sparse.from_dense([y, 0]))},
            "dense tensors, which can be batched; got a SparseTensor",
        ),
        ({"train": lambda seed: slices(*4 * (DATA.y_train,))}, "sample_weight.; got 4 parts"),
    ],
)
@pytest.mark.filterwarnings("ignore:Seed")
def test_what_would_be_no_fair_comparison_is_told_in_one_line(given, message):
    tf.random.set_seed(7)  # as in a process that has trained; unseeded shuffles then follow from it
    with pytest.raises(DataError, match=message) as caught:
        as_keras_sees_them(stream(**given), None).refuse_chance()
    assert "\n" not in str(caught.value)


def test_a_fair_stream_passes():
    as_keras_sees_them(stream(), None).refuse_chance()
    as_keras_sees_them(stream(in_the_order_of_arrays, examples_per_epoch=3), None)


def test_an_epoch_of_another_kind_ends_the_trial_with_a_reason():
    def changing(seed, epoch):
        return slices(DATA.x_train if epoch == 0 else DATA.x_train[:, :2], DATA.y_train)

    outcome = TrainingSession(dense_model, stream(changing)).train(make_trial(8, loop="keras"), Recorder())
    assert outcome.status is Status.FAILED
    assert "must always make examples of one kind" in outcome.reason


def test_the_loop_for_examples_on_the_device_says_why_it_cannot():
    session = TrainingSession(dense_model, stream())
    outcome = session.train(make_trial(7, loop="device"), Recorder())
    assert "its examples are loaded when they are needed" in outcome.reason
    outcome = session.train(make_trial(7, loop="auto", epochs=1), Recorder())
    assert (outcome.status, outcome.loop) == (Status.COMPLETED, "keras")


class HandsOn(keras_tuner.HyperModel):
    def build(self, hp):
        return dense_model()

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **kwargs)


def test_a_description_tells_shapes_and_a_fit_of_the_user_is_refused():
    told = TrainingSession(dense_model, stream()).describe(DescribeRequest("d", {}))
    assert isinstance(told, ModelDescription), told.reason
    assert (told.input_shape, told.python_load) == ((None, 6), "")
    told = TrainingSession(HandsOn(), stream()).describe(DescribeRequest("d", {}))
    assert told.reason.startswith("A HyperModel.fit takes arrays; got a Stream.")


def test_every_probe_reads_real_examples():
    session = TrainingSession(dense_model, stream())
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


def test_long_trainings_tell_what_the_stream_takes_alone():
    outcome = TrainingSession(dense_model, stream()).train(make_trial(1, epochs=2, loop="keras"), Recorder())
    assert outcome.measurements[INPUT_SECONDS] > 0


def test_inputs_alone_and_structures_stream_as_they_are():
    def named(seed):
        return shuffled(seed, 0).map(lambda x, y: ({"left": x[:3], "right": x[3:]}, y))

    source = ExampleStream(stream(named, lambda: named(1)))
    x, y = source.validation_examples(5)
    assert (x["left"].shape, x["right"].shape, y.shape) == ((5, 3), (5, 3), (5,))
    alone = ExampleStream(stream(lambda seed: slices(DATA.x_train).map(lambda x: x), lambda: slices(DATA.x_val)))
    assert len(alone.training_examples(2)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(batch[0]) for batch in alone.validation_batches(9)] == [9, 9, 4]
