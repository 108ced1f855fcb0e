"""Program: when its compiled graphs may serve another trial, and what it gives back."""

import numpy as np
import pytest
import tensorflow as tf
from training_helpers import dense_model, make_data

from tuning.loops.arrays import DataPlacement, as_keras_sees_them
from tuning.loops.program import GraphFacts, Program


def make_program(build=dense_model):
    return Program(build(), DataPlacement(as_keras_sees_them(make_data(), None)).on_device, evaluation_batch_size=8)


def weights(model):
    return [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]


def train(program):
    block = program.compiled_block(5, 3, jit_compile=False)
    block(block.padded(np.arange(15, dtype=np.int32).reshape(3, 5)), 3)


def test_a_program_that_touches_only_the_models_variables_is_reusable():
    program = make_program()
    assert not program.reusable  # nothing is traced yet
    train(program)
    assert program.reusable


@pytest.mark.parametrize("operation", ["RandomUniform", "EagerPyFunc"])
def test_a_graph_with_state_of_its_own_is_not(operation):
    assert GraphFacts({"MatMul": 1}, ()).touches_only([])
    assert not GraphFacts({"MatMul": 1, operation: 1}, ()).touches_only([])


def test_a_graph_that_touches_another_variable_is_not():
    mine, other = tf.Variable(0.0), tf.Variable(0.0)
    facts = GraphFacts({}, (mine.handle,))
    held = type("Held", (), {"value": mine})()
    assert facts.touches_only([held])
    assert not GraphFacts({}, (mine.handle, other.handle)).touches_only([held])


def test_the_hidden_state_of_either_program_is_that_of_both():
    clean, hidden = GraphFacts({"MatMul": 9}, ()), GraphFacts({"PyFunc": 1}, ())
    for joined in (clean.joined(hidden), hidden.joined(clean)):
        assert not joined.touches_only([])
        assert joined.operations["MatMul"] == 9
    assert clean.joined(GraphFacts({"Add": 1}, ())).touches_only([])


@pytest.mark.parametrize(("operation", "convolves"), [("Conv2DBackpropInput", True), ("MatMul", False)])
def test_convolutions_are_known_by_their_operations(operation, convolves):
    assert GraphFacts({operation: 1}, ()).convolves is convolves


def test_a_snapshot_restores_every_variable():
    program = make_program()
    program.compiled_block(5, 3, jit_compile=False)
    before, snapshot = weights(program.model), program.snapshot()
    train(program)
    assert any(not np.array_equal(one, other) for one, other in zip(weights(program.model), before, strict=True))
    program.restore(snapshot)
    for one, other in zip(weights(program.model), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_fresh_models_values_are_adopted_and_those_of_another_shape_refused():
    program, fresh = make_program(), dense_model()
    train(program)
    assert program.adopt(fresh)
    for one, other in zip(weights(program.model), weights(fresh), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not program.adopt(dense_model("sgd"))


def test_facts_need_a_traced_block():
    with pytest.raises(RuntimeError, match="must be traced before its graph is read"):
        _ = make_program().facts
