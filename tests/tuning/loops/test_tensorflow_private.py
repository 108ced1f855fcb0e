"""Each private name of TensorFlow: what it gives, and what is done where a version lacks it."""

from types import SimpleNamespace

import pytest
import tensorflow as tf

from tuning.loops import tensorflow_private
from tuning.loops.tensorflow_private import CustomGradients, EagerSeed, gpu_memory_limit


def first_draw(seed):
    tf.random.set_seed(seed)
    return float(tf.random.normal(()))


def test_the_contexts_generator_goes_or_eager_random_operations_of_a_build_go_unnoticed():
    seed = EagerSeed(3)
    assert not seed.was_used
    tf.random.normal(())
    assert seed.was_used


@pytest.mark.parametrize("found", [None, SimpleNamespace(context=lambda: SimpleNamespace(_seed=0))], ids=["no", "old"])
def test_without_the_contexts_generator_tensorflow_is_seeded_by_its_public_function(monkeypatch, found):
    expected = first_draw(3)
    monkeypatch.setattr(tensorflow_private, "context", found)
    seed = EagerSeed(3)
    assert float(tf.random.normal(())) == expected
    assert not seed.was_used


def trace_a_custom_gradient():
    step = tf.function(lambda x: tf.custom_gradient(lambda y: (y, lambda dy: dy))(x))
    step.get_concrete_function(tf.TensorSpec((3,), tf.float32))


def test_the_gradient_registry_goes_or_every_traced_training_step_stays_in_memory():
    trace_a_custom_gradient()
    gradients = CustomGradients()
    before = set(gradients._registered)
    assert any(name.startswith("CustomGradient-") for name in before)
    trace_a_custom_gradient()
    assert set(gradients._registered) > before
    gradients.forget()
    assert set(gradients._registered) == before


def test_without_the_gradient_registry_nothing_is_forgotten_and_nothing_fails(monkeypatch):
    monkeypatch.setattr(tensorflow_private, "gradient_registry", None)
    CustomGradients().forget()


def test_device_lib_goes_or_no_data_are_placed_on_a_gpu(monkeypatch):
    devices = [SimpleNamespace(device_type="CPU", memory_limit=5), SimpleNamespace(device_type="GPU", memory_limit=7)]
    monkeypatch.setattr(tensorflow_private.device_lib, "list_local_devices", lambda: devices)
    assert gpu_memory_limit() == 7
    devices.append(SimpleNamespace(device_type="GPU", memory_limit=6))
    assert gpu_memory_limit() == 6
    monkeypatch.setattr(tensorflow_private.device_lib, "list_local_devices", lambda: devices[:1])
    assert gpu_memory_limit() == 0
    monkeypatch.setattr(tensorflow_private, "device_lib", None)
    assert gpu_memory_limit() == 0
