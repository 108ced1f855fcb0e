"""What one call of inference costs: which batches, which calls count, and the percentiles of them."""

import itertools
import math

import keras
import numpy as np
import pytest
from training_helpers import dense_model, make_data

from tuning.loops.inference import batches_of, measure_inference, percentile, time_calls
from tuning.loops.session import TrainingSession
from tuning.messages import Inference, InferenceRequest
from tuning.trial import Status, TrialOutcome


class Clock:
    """A clock that moves when a call lasts."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


class Scripted:
    """Stands for a model whose calls last as long as a script says, the last entry for ever."""

    def __init__(self, clock, *seconds):
        self._clock = clock
        self._seconds = itertools.chain(seconds, itertools.repeat(seconds[-1]))
        self.batches = []

    def predict_on_batch(self, batch):
        self._clock.seconds += next(self._seconds)
        self.batches.append(batch)


def measured(*seconds, x=None, **asked):
    clock = Clock()
    model = Scripted(clock, *seconds)
    request = InferenceRequest("i", **{"batch_size": 4, **asked})
    inputs = np.arange(40.0) if x is None else x
    return measure_inference(lambda trial: model, inputs, request, clock), model


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 100])
@pytest.mark.parametrize("percent", [50, 95])
def test_a_percentile_is_the_least_value_that_enough_values_do_not_exceed(count, percent):
    values = np.random.default_rng(count).integers(0, 50, count).astype(float).tolist()
    enough = [value for value in values if 100 * sum(other <= value for other in values) >= percent * count]
    assert percentile(values, percent) == min(enough)


def test_warm_up_calls_do_not_count():
    found, model = measured(9.0, 8.0, 7.0, 0.1)
    assert (found.latency_p50_s, found.latency_p95_s) == pytest.approx((0.1, 0.1))
    assert len(model.batches) == found.calls + 3
    assert found.seconds == pytest.approx(0.1 * found.calls)
    assert found.examples_per_second == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("seconds", "calls"),
    [
        (0.001, 1000),  # as many as a second has
        (0.0625, 50),  # the least number, though a second would have 16
        (0.25, 20),  # as many as five seconds have
        (1.0, 5),
        (7.0, 1),
    ],
)
def test_calls_are_timed_for_a_second_and_fifty_times_but_no_longer_than_five_seconds(seconds, calls):
    found, _ = measured(seconds)
    assert abs(found.calls - calls) <= (1 if seconds == 0.001 else 0)  # sums of 0.001 are rounded


def test_longer_may_be_asked_for():
    assert measured(0.5, most_seconds=12.0)[0].calls == 24


def test_no_p95_is_told_of_fewer_than_twenty_calls():
    assert measured(0.25, most_seconds=4.75)[0].calls == 19
    assert measured(0.25, most_seconds=4.75)[0].latency_p95_s is None
    assert measured(0.25)[0].latency_p95_s == 0.25


def test_p95_is_that_of_the_slow_calls():
    slow = [0.5 if number % 10 == 9 else 0.0625 for number in range(103)]
    found, _ = measured(*slow)
    assert (found.latency_p50_s, found.latency_p95_s) == (0.0625, 0.5)


def test_time_runs_only_while_a_call_lasts():
    clock = Clock()

    def batches():
        while True:
            clock.seconds += 100.0
            yield None

    model = Scripted(clock, 0.125)
    seconds = time_calls(model.predict_on_batch, batches(), InferenceRequest("i", 1), clock)
    assert seconds == [0.125] * math.ceil(5.0 / 0.125)


def test_batches_go_through_the_examples_and_begin_again():
    x = np.arange(10, dtype="float64")
    assert [batch.tolist() for batch in batches_of(x, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    (long,) = batches_of(x, 23)
    assert long.tolist() == [*range(10), *range(10), 0, 1, 2]
    assert len(batches_of(x, 1)) == 8


def test_batches_keep_the_structure_and_take_keras_s_types():
    x = {"a": np.zeros((6, 2)), "b": (np.arange(6), np.array(["u", "v"] * 3))}
    batch = batches_of(x, 2)[1]
    assert batch["a"].shape == (2, 2)
    assert batch["a"].dtype == np.float32
    assert batch["b"][0].tolist() == [2, 3]
    assert batch["b"][1].tolist() == ["u", "v"]


def test_every_batch_is_used():
    _, model = measured(0.25, x=np.arange(8.0))
    assert {tuple(batch.tolist()) for batch in model.batches} == {(0, 1, 2, 3), (4, 5, 6, 7)}


def test_a_session_answers_by_what_a_real_model_costs():
    session = TrainingSession(dense_model, make_data())
    found = session.probe(InferenceRequest("i", 100, least_calls=20, least_seconds=0.0))  # 22 validation examples
    assert isinstance(found, Inference), found
    assert (found.trial_id, found.batch_size, found.calls) == ("i", 100, 20)
    assert 0 < found.latency_p50_s <= found.latency_p95_s
    assert found.peak_memory_bytes > 2**20


def test_a_batch_size_has_a_program_of_its_own():
    """Keras would relax a function that had seen another size, and a program for any size may be slower."""
    shapes = []

    class Watching(keras.layers.Layer):
        def call(self, x):
            shapes.append(x.shape[0])
            return x

    def build():
        model = keras.Sequential([Watching(), keras.layers.Dense(2)])
        model.compile("sgd", "mse")
        return model

    session = TrainingSession(build, make_data())
    for size in (1, 2, 4, 8):
        assert isinstance(session.probe(InferenceRequest("i", size, least_calls=1, least_seconds=0.0)), Inference)
    assert {shape for shape in shapes if shape is not None} == {1, 2, 4, 8}
    assert None not in shapes


def test_a_model_that_cannot_be_built_is_an_outcome_with_its_reason():
    def build():
        raise RuntimeError("no such layer")

    found = TrainingSession(build, make_data()).probe(InferenceRequest("i", 1))
    assert isinstance(found, TrialOutcome)
    assert found.status is Status.FAILED
    assert "no such layer" in found.reason


@pytest.mark.parametrize("field", ["batch_size", "least_calls"])
def test_numbers_out_of_range_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} must be at least 1; got 0"):
        InferenceRequest(**{"trial_id": "i", "batch_size": 8, field: 0})


def test_a_least_duration_above_the_most_is_refused():
    with pytest.raises(ValueError, match=r"least_seconds must lie between 0 and most_seconds; got .*=2, .*=1"):
        InferenceRequest("i", 8, least_seconds=2, most_seconds=1)
