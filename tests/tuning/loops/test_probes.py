"""Memory and throughput of a real small model, measured in this process."""

from __future__ import annotations

import os
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from asynchronous import GpuOnTheCpu
from training_helpers import N_TRAIN, dense_model, make_data, make_trial

from tuning.loops import arrays, planner, throughput, training
from tuning.loops.bystanders import Moment
from tuning.loops.fit_plan import Block, EpochPipeline, FitPlan
from tuning.loops.order import ExampleOrder
from tuning.loops.session import TrainingSession
from tuning.loops.throughput import ChunkClock, input_seconds, measure
from tuning.messages import MemoryProbe, MemoryProbeRequest, Throughput, ThroughputRequest
from tuning.trial import Status, TrialOutcome


@pytest.fixture(scope="module")
def session():
    return TrainingSession(dense_model, make_data())


@pytest.mark.parametrize("batch_size", [1, 16, N_TRAIN])
def test_a_memory_probe_tells_a_peak_above_its_baseline(session, batch_size):
    found = session.probe(MemoryProbeRequest("m", batch_size))
    assert isinstance(found, MemoryProbe), found
    assert (found.trial_id, found.batch_size) == ("m", batch_size)
    assert found.peak_memory_bytes >= found.baseline_memory_bytes > 2**20


def test_a_memory_probe_trains_as_many_updates_as_asked_and_validates(monkeypatch):
    fits = []

    def build():
        model = dense_model()
        own = model.fit

        def fit(**arguments):
            history = own(**arguments)
            fits.append((int(model.optimizer.iterations), "val_loss" in history.history))
            return history

        model.fit = fit
        return model

    session = TrainingSession(build, make_data())
    for batch_size, updates in ((4, 3), (20, 3), (50, 3)):  # 50: three epochs of one update
        assert isinstance(session.probe(MemoryProbeRequest("m", batch_size)), MemoryProbe)
        assert fits.pop() == (updates, True)


def test_a_batch_larger_than_the_data_is_a_failure_with_its_reason(session):
    found = session.probe(MemoryProbeRequest("m", N_TRAIN + 1))
    assert isinstance(found, TrialOutcome)
    assert found.status is Status.FAILED
    assert f"{N_TRAIN} training examples; got {N_TRAIN + 1}" in found.reason


@pytest.mark.parametrize(
    ("loop", "times_input", "has_input"), [("keras", True, True), ("keras", False, False), ("device", True, False)]
)
def test_a_throughput_probe_tells_the_loop_its_slices_and_its_input(session, loop, times_input, has_input):
    asked = ThroughputRequest("t", 8, loop=loop, chunks=3, chunk_seconds=0.01, times_input=times_input)
    found = session.probe(asked)
    assert isinstance(found, Throughput), found
    assert (found.trial_id, found.batch_size, found.loop) == ("t", 8, loop)
    assert found.seconds_per_update == sorted(found.repeats)[1] > 0
    assert found.wall_seconds >= 3 * 0.01
    assert 0 < found.cpu_seconds < 1000 * found.wall_seconds
    assert (found.input_seconds_per_update is not None) == has_input


def test_a_timing_beside_a_compile_is_told_to_be_disturbed(session, monkeypatch):
    compiling = threading.Event()
    compiler = threading.Thread(target=compiling.wait, daemon=True)
    compiler.start()
    monkeypatch.setattr(planner, "_PATIENCE_S", 0.0)
    session._planner._abandoned.append(compiler)
    found = session.probe(ThroughputRequest("t", 8, loop="keras", chunks=1, chunk_seconds=0.01))
    compiling.set()
    compiler.join()
    assert found.is_disturbed
    assert found.others_share >= 1 / os.cpu_count()


def test_plain_fit_is_traced_once_for_all_batch_sizes_that_are_timed():
    traced = []

    def build(hp):
        units = hp.Choice("units", [4, 6])

        def loss(y_true, y_pred):
            traced.append((units, y_pred.shape[0]))
            return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

        return dense_model(loss=loss, metrics=[], loss_weights=[float(units)])

    def time(batch_size, units, loop="keras"):
        traced.clear()
        wished = {"loop": loop, "chunks": 1, "chunk_seconds": 0.01, "hyperparameters": {"units": units}}
        found = session.probe(ThroughputRequest("t", batch_size, **wished))
        assert isinstance(found, Throughput), found
        return [seen for seen in traced if seen[1] != 1]  # Keras builds a model from a batch of one

    session = TrainingSession(build, make_data())
    assert (4, None) in time(4, units=4)
    assert time(16, units=4) == []
    assert time(N_TRAIN, units=4) == []
    assert (6, None) in time(8, units=6)
    assert time(8, units=6, loop="device") != []
    assert (6, None) in time(8, units=6)  # what another loop has left in between is not relied on


@pytest.mark.parametrize(
    ("seconds_per_update", "runs"),
    [(0.001, [8, 8, 100, 100]), (0.05, [8, 8, 8])],  # a chunk lasts .1 s: many short blocks, or one
)
def test_blocks_are_as_long_as_chunks_and_a_long_one_counts_from_the_first_on(seconds_per_update, runs):
    now, ran = [0.0], []

    def run(updates):
        ran.append(updates)
        now[0] += updates * seconds_per_update * (3 if len(ran) == 1 else 1)  # the first one compiles

    model = dense_model()
    clock = ChunkClock(2, 0.1, now=lambda: now[0], read=lambda: Moment(now[0], 0.0, None, 1))
    found = measure(FitPlan(model, {}, "xla", block=Block(run, longest=1000, shortest=8)), clock)
    assert ran == runs
    assert found.seconds_per_update == pytest.approx([seconds_per_update] * 2)


def test_batches_whose_size_is_left_open_are_the_same():
    data = make_data()
    order = ExampleOrder(data.n_train, 10, seed=0)
    fixed, open_ = EpochPipeline(data.train, order), EpochPipeline(data.train, order, any_size=True)
    assert [spec.shape[0] for spec in tf.nest.flatten(open_.dataset.element_spec)] == [None, None]
    for left, right in zip(fixed.dataset, open_.dataset, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, left, right)


def test_the_input_alone_is_timed_after_its_first_batch():
    data = make_data()
    pipeline = EpochPipeline(data.train, ExampleOrder(data.n_train, 10, seed=0))  # 5 batches per epoch
    seconds = iter([0.0, 100.0, 100.0, 100.5, 101.0, 102.0, 103.0])  # begin, first batch twice, the others
    assert input_seconds(pipeline, seconds=2.0, now=lambda: next(seconds)) == pytest.approx(2.0 / 3)


@pytest.mark.parametrize("field", ["batch_size", "updates", "evaluation_batch_size"])
def test_numbers_out_of_range_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} must be at least 1; got 0"):
        MemoryProbeRequest(**{"trial_id": "m", "batch_size": 8, field: 0})


class ScriptedGpu(GpuOnTheCpu):
    """A card whose peak since the last reset is scripted."""

    def __init__(self, peaks):
        self._peaks, self.resets = iter(peaks), 0

    def reset_peak(self):
        self.resets += 1

    def peak_bytes(self):
        return next(self._peaks)


@pytest.mark.parametrize("loop", ["keras", "device"])
def test_on_a_gpu_the_first_update_is_told_apart_from_those_after_it(loop, monkeypatch):
    card = ScriptedGpu([30, 10, 50, 40])  # after planning, before training, after its first step, at the end
    monkeypatch.setattr(arrays, "this_processor", lambda: card)
    monkeypatch.setattr(throughput, "this_processor", lambda: card)
    found = TrainingSession(dense_model, make_data()).probe(MemoryProbeRequest("m", 8, loop=loop))
    assert isinstance(found, MemoryProbe), found
    assert found.first_peak_memory_bytes == 50
    assert (found.peak_memory_bytes, found.baseline_memory_bytes) == (40, 10)
    assert card.resets == 3


def test_on_a_cpu_no_first_update_is_told_apart(session):
    assert session.probe(MemoryProbeRequest("m", 8)).first_peak_memory_bytes is None


def test_memory_that_nobody_counts_is_not_probed_but_trained_with(monkeypatch):
    class Uncounted(GpuOnTheCpu):
        def peak_bytes(self):
            return None

    for module in (arrays, throughput, training):
        monkeypatch.setattr(module, "this_processor", Uncounted)
    session = TrainingSession(dense_model, make_data())
    found = session.probe(MemoryProbeRequest("m", 8, loop="device"))
    assert found.status is Status.FAILED
    assert "keeps no statistics. Unset TF_GPU_ALLOCATOR" in found.reason
    outcome = session.train(make_trial(8), lambda _: True)
    assert (outcome.status, outcome.peak_memory_bytes) == (Status.COMPLETED, None)
