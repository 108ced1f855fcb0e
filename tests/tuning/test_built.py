"""What is built of a search's hyperparameters has what the search decided for their batch size."""

import keras
import keras_tuner
import pytest

from search_spaces.scaling import Scaling
from search_spaces.space import Setting
from tuning.built import ScaledHyperModel
from tuning.instructions import Instructions
from tuning.trial import Trial


def network(optimizer):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def built(build, scaling=None, **values):
    hp = keras_tuner.HyperParameters()
    hp.values = values
    return ScaledHyperModel(build, lambda: Instructions(scaling=scaling or Scaling())).build(hp)


def test_the_rate_is_the_trials():
    model = built(lambda: network(keras.optimizers.Adam(0.5)), batch_size=8, learning_rate=0.01)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


def test_a_rate_that_the_build_function_takes_is_taken_once():
    model = built(lambda hp: network(keras.optimizers.Adam(hp.Float("lr", 0.1, 1.0))), batch_size=8, lr=0.2)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.2)


def test_schedule_and_decay_follow_the_batch_size():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    scaling = Scaling(32, reference_rate=0.1, schedule_at=32, weight_decay=True)
    model = built(
        lambda: network(keras.optimizers.AdamW(schedule, weight_decay=0.1)), scaling, batch_size=128, learning_rate=0.2
    )
    assert model.optimizer.weight_decay == pytest.approx(0.2)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.2)
    model.optimizer.iterations.assign(25)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.0, abs=1e-8)


def test_without_a_batch_size_the_model_is_the_users_own():
    model = built(lambda: network(keras.optimizers.Adam(0.5)))
    assert float(model.optimizer.learning_rate) == pytest.approx(0.5)


def test_what_the_build_function_declares_is_found_afterwards():
    def build(hp):
        return network(keras.optimizers.Adam(hp.Choice("rate", [0.25, 0.5])))

    hp = keras_tuner.HyperParameters()
    ScaledHyperModel(build, Instructions).build(hp)
    assert ([entry.name for entry in hp.space], hp.values) == (["rate"], {"rate": 0.25})


def test_a_final_training_refuses_a_fit_of_the_users_own_and_what_is_no_model():
    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return network("sgd")

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, **kwargs)

    trial = Trial(Setting(8, 0.01), 0)
    with pytest.raises(ValueError, match="got Own, which has a fit of its own"):
        ScaledHyperModel(Own(), Instructions).build_for(trial)
    with pytest.raises(ValueError, match="must return a compiled model; got 3"):
        ScaledHyperModel(lambda: 3, Instructions).build_for(trial)
    with pytest.raises(ValueError, match="it raised ZeroDivisionError"):
        ScaledHyperModel(lambda: 1 / 0, Instructions).build_for(trial)
    assert float(ScaledHyperModel(lambda: network("sgd"), Instructions).build_for(trial).optimizer.learning_rate) == (
        pytest.approx(0.01)
    )
