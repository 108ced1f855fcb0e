"""Each private name of Keras: what it gives, and what is done where a version lacks it."""

import random

import keras
import numpy as np
import pytest
from training_helpers import dense_model

from tuning.loops import keras_private
from tuning.loops.keras_private import (
    UNLISTED_ATTRIBUTES,
    LightSeed,
    compile_arguments,
    every_layer,
    restart_automatic_names,
    takes_training,
)

layers = keras.layers


def nested_model():
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    return keras.Sequential([keras.Input((3,)), inner, layers.BatchNormalization()])


def test_flatten_layers_goes_or_batch_normalization_inside_a_wrapper_is_overlooked():
    wrapped = keras.Sequential([keras.Input((2, 3)), layers.TimeDistributed(layers.BatchNormalization())])
    assert any(isinstance(layer, layers.BatchNormalization) for layer in every_layer(wrapped))


def test_without_flatten_layers_nested_models_are_still_walked(monkeypatch):
    model = nested_model()
    expected = {layer.name for layer in every_layer(model) if not isinstance(layer, layers.InputLayer)}
    monkeypatch.delattr(layers.Layer, "_flatten_layers")
    assert {layer.name for layer in every_layer(model)} == expected


class Trains(keras.Model):
    def call(self, x, training=False):
        return x


class Ignores(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize("model", [Trains, Ignores])
def test_call_has_training_arg_goes_or_gradients_are_taken_in_another_mode_than_training(model, monkeypatch):
    found = takes_training(model())
    assert found is (model is Trains)
    bare = model()
    monkeypatch.delattr(bare, "_call_has_training_arg")
    assert takes_training(bare) is found


def test_compile_config_goes_or_two_losses_of_one_name_share_a_compiled_program():
    def loss(y, p):
        return keras.ops.mean(y - p)

    assert compile_arguments(dense_model(loss=loss))["loss"] is loss


def test_without_compile_config_no_two_models_look_alike(monkeypatch):
    model = dense_model()
    monkeypatch.setattr(model, "_compile_config", None)
    assert compile_arguments(model) != compile_arguments(model)


@pytest.mark.parametrize("has_name", [True, False])
def test_reset_uids_goes_or_layers_of_the_second_trial_have_other_names_than_those_of_the_first(monkeypatch, has_name):
    if not has_name:
        monkeypatch.setattr(keras_private, "reset_uids", None)
    names = []
    for _ in range(2):
        restart_automatic_names()
        names.append(layers.Dense(1).name)
    assert names == ["dense", "dense"]


@pytest.fixture(autouse=True)
def no_generator_of_other_tests():
    """Keras below 3.15 draws on from a global generator that has drawn before, also after `set_random_seed`."""
    keras.utils.clear_session(free_memory=False)


def drawn():
    return random.random(), np.random.random(), keras.ops.convert_to_numpy(keras.random.uniform((2,))).tolist()


def test_the_global_state_is_seeded_as_set_random_seed_does_or_initial_weights_are_no_longer_those_of_the_seed():
    keras.utils.set_random_seed(7)
    expected = drawn(), dense_model().get_weights()[0]
    light = LightSeed(7)
    found = drawn(), dense_model().get_weights()[0]
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
    assert not light.was_used


@pytest.mark.parametrize("missing", [("seed_generator",), ("seed_generator", "rng_utils")], ids=["3.14", "3.8"])
def test_older_keras_without_the_constants_is_seeded_alike(monkeypatch, missing):
    keras.utils.set_random_seed(7)
    expected = drawn()
    for module in missing:
        monkeypatch.setattr(keras_private, module, object())
    LightSeed(7)
    assert drawn() == expected


def test_without_the_global_state_everything_is_seeded_by_keras(monkeypatch):
    keras.utils.set_random_seed(7)
    expected = drawn()
    keras.utils.clear_session(free_memory=False)  # as above
    monkeypatch.setattr(keras_private, "global_state", None)
    LightSeed(7)
    assert drawn() == expected


def test_the_constants_are_still_what_the_fallback_assumes():
    assert keras_private._name(keras_private.rng_utils, "GLOBAL_RANDOM_SEED") == "global_random_seed"
    assert keras_private._name(object(), "GLOBAL_SEED_GENERATOR") == "global_seed_generator"
    assert keras_private._name(keras_private.seed_generator, "GLOBAL_SEED_GENERATOR") == "global_seed_generator"


def test_a_sequential_model_keeps_the_unlisted_attribute_or_programs_are_traced_anew_for_each_trial():
    assert "_functional" in UNLISTED_ATTRIBUTES & vars(dense_model()).keys()
