"""The contract of the seam Loop, for every loop there is and for one that a user might add."""

import keras
import pytest
from contracts_loops import LoopContract
from training_helpers import dense_model, make_data, make_trial

from tuning.loops import loop as loops
from tuning.loops.fit_plan import FitPlan, install, own_function, placeholder_data
from tuning.loops.loop import AUTO, KERAS, LOOP_CHOICES, LOOPS, TIMED, find_loop
from tuning.loops.session import TrainingSession
from tuning.trial import Status


class TestKerasLoop(LoopContract):
    name = "keras"
    rtol, atol = 0, 0


class TestDeviceLoop(LoopContract):
    name = "device"


class TestXlaLoop(LoopContract):
    name = "xla"


class RowByRow:
    """A fourth loop: it gathers each batch with NumPy and gives it to Keras's own train function."""

    name = "row by row"

    def can_train(self, model, data, callbacks):
        if any(isinstance(callback, keras.callbacks.LambdaCallback) for callback in callbacks):
            return "it cannot tell a LambdaCallback of its batches"
        return "it runs eagerly" if model.run_eagerly else ""

    def plan(self, material, order, clock):
        import tensorflow as tf

        own = own_function(material.model, "train")
        x, y = material.data.arrays.train
        epochs = iter(range(10**9))

        def epoch():
            for rows in order.rows(next(epochs)):
                batch = tuple(tf.constant(keras.ops.convert_to_numpy(leaf[rows])) for leaf in (x, y))
                logs = clock.run(lambda batch=batch: own(iter([batch])), 1)
            clock.end_epoch(logs)
            return logs

        install(material.model, "train", epoch)
        validation = {
            "validation_data": material.data.arrays.validation,
            "validation_batch_size": material.trial.instructions.evaluation_batch_size,
        }
        arguments = {"x": placeholder_data(), "shuffle": False, "steps_per_epoch": 1, **validation}
        return FitPlan(material.model, arguments, self.name)


class TestFourthLoop(LoopContract):
    """One class and one line in the registry add a loop."""

    name = "row by row"

    @pytest.fixture(autouse=True)
    def register(self, monkeypatch):
        monkeypatch.setitem(loops.CLASSES, self.name, f"{__name__}:RowByRow")

    def test_what_it_refuses_is_a_failed_trial_with_its_reason(self):
        session = TrainingSession(lambda: dense_model(run_eagerly=True), make_data())
        outcome = session.train(make_trial(loop=self.name), lambda _: True)
        assert outcome.status is Status.FAILED
        assert outcome.reason == (
            "ValueError: The row by row loop cannot train this: it runs eagerly. Use the keras loop, or auto."
        )


def test_a_loop_may_refuse_the_callbacks_of_the_user(monkeypatch):
    monkeypatch.setitem(loops.CLASSES, "row by row", f"{__name__}:RowByRow")
    session = TrainingSession(dense_model, make_data(), callbacks=[keras.callbacks.LambdaCallback()])
    outcome = session.train(make_trial(loop="row by row"), lambda _: True)
    assert outcome.status is Status.FAILED
    assert "it cannot tell a LambdaCallback of its batches" in outcome.reason


def test_the_names_are_those_of_the_registry():
    assert LOOPS == ("keras", "device", "xla")
    assert ("auto", *LOOPS) == LOOP_CHOICES
    assert set(TIMED) < set(LOOPS)
    assert (AUTO, KERAS) == ("auto", "keras")


def test_an_unknown_loop_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"^loop must be one of auto, keras, device, xla; got 'fast'\.$"):
        find_loop("fast")
