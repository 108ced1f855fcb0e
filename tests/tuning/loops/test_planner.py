"""Planner: which loop trains a trial, with which program, and what later trials take over."""

import threading

import keras
import numpy as np
import pytest
from training_helpers import Recorder, dense_model, make_data, make_trial

from search_spaces.data import Data
from tuning.loops import planner as module
from tuning.loops.arrays import DataPlacement, as_keras_sees_them
from tuning.loops.callbacks import TrainingClock
from tuning.loops.loop_choice import CompilerTimeoutError, LoopChoice
from tuning.loops.model_builder import ModelBuilder
from tuning.loops.order import ExampleOrder
from tuning.loops.planner import Planner
from tuning.loops.session import TrainingSession
from tuning.trial import Status


def make_planner(build=dense_model, data=None):
    return Planner(ModelBuilder(build), as_keras_sees_them(data or make_data(), None))


def plan(planner, loop, batch_size=10, **changes):
    trial = make_trial(batch_size, loop=loop, **changes)
    order = ExampleOrder(planner._data.arrays.n_train, batch_size, trial.seed)
    return planner.plan(trial, order, TrainingClock(counts_gaps=True))


def test_an_unknown_loop_is_refused_before_a_model_is_built():
    def build():
        raise AssertionError("built")

    with pytest.raises(ValueError, match="loop must be one of auto, keras, device, xla; got 'fast'"):
        plan(make_planner(build), "fast")


def test_the_program_of_a_trial_without_incident_serves_the_next_of_any_batch_size_and_seed():
    planner = make_planner()
    first = plan(planner, "device")
    planner.finish()
    second = plan(planner, "device", batch_size=5, seed=4)
    assert second.model is first.model
    assert second.settings["model_signature"] == first.settings["model_signature"]


def test_a_program_is_not_kept_unless_the_training_finished():
    planner = make_planner()
    first = plan(planner, "device")
    assert plan(planner, "device").model is not first.model


def test_clearing_drops_what_was_kept_and_what_is_in_use():
    planner = make_planner()
    first = plan(planner, "device")
    planner.finish()
    planner.clear()
    second = plan(planner, "device")
    assert second.model is not first.model
    planner.clear()
    planner.finish()
    assert plan(planner, "device").model is not second.model


def test_a_training_that_changed_what_is_compiled_leaves_no_program():
    planner = make_planner()
    first = plan(planner, "device")
    first.model.layers[0].trainable = False
    planner.finish()
    assert plan(planner, "device").model is not first.model


def chosen(calls, loop="device", updates=15):
    def choose_loop(program, order, wanted, known, *, refusal):
        calls.append((order.batch_size, wanted, len(known), refusal))
        return LoopChoice(order.batch_size, loop, updates, {"device": 2.0}, {"device": 1.0}, "for a test")

    return choose_loop


def test_a_choice_serves_later_trials_of_its_batch_size_and_not_those_much_longer(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "choose_loop", chosen(calls))
    planner = make_planner()
    found = plan(planner, "auto")  # 3 epochs of 5 updates
    assert (found.loop, found.settings["loop_reason"]) == ("device", "for a test")
    assert found.measurements == {"seconds_per_update_device": 2.0, "compile_seconds_device": 1.0}
    plan(planner, "auto", seed=1)
    plan(planner, "auto", trainings=4)
    assert calls == [(10, 15, 0, "")]
    plan(planner, "auto", trainings=5)
    plan(planner, "auto", batch_size=5)
    assert calls[1:] == [(10, 75, 1, ""), (5, 30, 1, "")]


def test_a_compiler_that_does_not_return_keeps_its_program_and_plain_blocks_train_a_fresh_one(monkeypatch):
    programs, compiled = [], threading.Event()
    compiler = threading.Thread(target=compiled.wait)
    compiler.start()

    def choose_loop(program, order, updates, known, *, refusal):
        program.compiled_block(order.batch_size, 5, jit_compile=False)
        programs.append(program)
        raise CompilerTimeoutError(2.5, compiler)

    monkeypatch.setattr(module, "choose_loop", choose_loop)
    planner = make_planner()
    found = plan(planner, "auto")
    assert found.loop == "device"
    assert found.model is not programs[0].model
    assert found.measurements["compile_seconds_xla"] == 2.5
    assert found.is_disturbed
    assert "a training beside the compiler is not timed" in found.settings["loop_reason"]
    planner.finish()
    compiled.set()
    compiler.join()
    assert not plan(planner, "auto", trainings=1000).is_disturbed
    assert len(programs) == 1


@pytest.mark.parametrize("loop", ["device", "keras"])
@pytest.mark.parametrize("ends", [True, False])
def test_a_timing_waits_for_a_compile_that_nobody_else_waits_for_and_tells_if_it_goes_on(monkeypatch, loop, ends):
    goes_on = threading.Event()
    compiler = threading.Thread(target=goes_on.wait, daemon=True)
    compiler.start()
    monkeypatch.setattr(module, "_PATIENCE_S", 30.0 if ends else 0.05)

    def choose_loop(program, order, *_, **__):
        program.compiled_block(order.batch_size, 5, jit_compile=False)
        raise CompilerTimeoutError(2.5, compiler)

    monkeypatch.setattr(module, "choose_loop", choose_loop)
    planner = make_planner()
    assert plan(planner, "auto").is_disturbed
    assert plan(planner, loop).is_disturbed  # a trial does not wait; its seconds are not told
    if ends:
        threading.Timer(0.1, goes_on.set).start()
    trial = make_trial(10, loop=loop)
    order = ExampleOrder(planner._data.arrays.n_train, 10, trial.seed)
    timed = planner.plan_timing(trial, order, TrainingClock(counts_gaps=True))
    assert timed.is_disturbed is not ends
    goes_on.set()


def eager_model():
    return dense_model(run_eagerly=True)


class OwnFunction(keras.Model):
    def __init__(self):
        super().__init__()
        self.output_layer = keras.layers.Dense(3, activation="softmax")

    def call(self, x):
        return self.output_layer(x)

    def make_test_function(self, force=False):
        return super().make_test_function(force)


def own_function_model():
    model = OwnFunction()
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize(
    ("build", "reason"),
    [(eager_model, "it is compiled with run_eagerly=True"), (own_function_model, "it overrides make_test_function")],
)
def test_what_blocks_cannot_train_is_refused_when_asked_for_and_falls_back_when_not(build, reason):
    for loop in ("device", "xla"):
        with pytest.raises(ValueError, match=f"The {loop} loop cannot train this: {reason}. Use the keras loop, or"):
            plan(make_planner(build), loop)
    found = plan(make_planner(build), "auto")
    assert (found.loop, found.settings["loop_reason"]) == ("keras", reason)


class Ragged(OwnFunction):
    make_test_function = keras.Model.make_test_function
    traced = 0

    def train_step(self, data):
        Ragged.traced += 1
        return {**super().train_step(data), "all": self(data[0])[:, 0] + 0.0 * keras.ops.cast(data[1], "float32")}

    def test_step(self, data):
        import tensorflow as tf

        return {**super().test_step(data), "some": tf.boolean_mask(data[1], data[1] > 0)}


def ragged_model():
    model = Ragged()
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_a_refusal_that_only_tracing_tells_is_remembered():
    planner = make_planner(ragged_model)
    for _ in range(2):
        with pytest.raises(ValueError, match="a step must log tensors of a fixed shape"):
            plan(planner, "device")
        traced, Ragged.traced = Ragged.traced, 0
    assert traced == 0


def test_data_too_large_for_the_device_fall_back_and_train():
    arrays = as_keras_sees_them(make_data(), None)
    planner = Planner(ModelBuilder(dense_model), arrays, DataPlacement(arrays, share_for_data=1e-12))
    found = plan(planner, "auto")
    assert found.loop == "keras"
    assert found.settings["loop_reason"] == f"{arrays.nbytes} bytes of data are too many beside a model"


def text_data():
    x = np.array([["yes"], ["no"]] * 20, dtype=object)
    y = np.array([1.0, 0.0] * 20)
    return Data(x, y, x[:8], y[:8])


def text_model():
    lookup = keras.layers.StringLookup(vocabulary=["yes", "no"], output_mode="one_hot")
    model = keras.Sequential([keras.Input((1,), dtype="string"), lookup, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def test_text_is_trained_in_plain_blocks_on_a_cpu_and_never_given_to_xla():
    session = TrainingSession(text_model, text_data())
    outcomes = {
        loop: session.train(make_trial(4, loop=loop, trainings=100), Recorder()) for loop in ("auto", "device", "xla")
    }
    assert outcomes["device"].status is Status.COMPLETED, outcomes["device"].reason
    assert (outcomes["auto"].status, outcomes["auto"].loop) == (Status.COMPLETED, "device")
    assert outcomes["auto"].settings["loop_reason"] == "text can be given neither to XLA nor to a GPU"
    assert outcomes["xla"].status is Status.FAILED
    assert "text can be given neither to XLA" in outcomes["xla"].reason
