"""Arrays in words give back every batch bit by bit, and a GPU has a kernel for all that touches the data.

TensorFlow ships the registry of its GPU kernels in every wheel, so that this is known without a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from asynchronous import GpuOnTheCpu
from tensorflow.core.framework import kernel_def_pb2, types_pb2
from tensorflow.python.client import _pywrap_tf_session
from training_helpers import Recorder, dense_model, make_data, make_trial

from search_spaces.data import Data
from tuning.loops import arrays, processor
from tuning.loops.arrays import DataPlacement, as_keras_sees_them
from tuning.loops.program import Program
from tuning.loops.rows import Rows, gather, placed, take
from tuning.loops.session import TrainingSession
from tuning.trial import Status

WORDS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64"]
PLAIN = ["float32", "float16", "int64", "bool"]


def numbers(dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Every bit of the type occurs."""
    generator = np.random.default_rng(0)
    size = np.dtype(dtype).itemsize * int(np.prod(shape))
    return np.frombuffer(generator.bytes(size), dtype).reshape(shape)


@pytest.mark.parametrize("dtype", WORDS)
@pytest.mark.parametrize("shape", [(7,), (7, 1), (7, 3), (7, 2, 4), (7, 28, 28), (7, 5, 5, 3)])
def test_batches_are_the_array_s_own_bits(dtype: str, shape: tuple[int, ...]) -> None:
    array = numbers(dtype, shape)
    leaf = placed(array, "CPU:0", for_gpu=True)
    assert isinstance(leaf, Rows)
    assert (leaf.shape, leaf.dtype) == (array.shape, array.dtype)
    rows = np.array([6, 0, 0, 3])
    gathered = tf.function(lambda: gather(leaf, tf.constant(rows)))()
    taken = tf.function(lambda: take(leaf, tf.constant(2), 4))()
    assert gathered.numpy().tobytes() == array[rows].tobytes()
    assert taken.numpy().tobytes() == array[2:6].tobytes()
    assert (gathered.shape, gathered.dtype) == ((4, *array.shape[1:]), array.dtype)


@pytest.mark.parametrize("dtype", PLAIN)
def test_what_a_gpu_gathers_stays_a_tensor(dtype: str) -> None:
    array = np.zeros((5, 3), dtype)
    assert tf.is_tensor(placed(array, "CPU:0", for_gpu=True))


def test_on_a_cpu_every_array_stays_a_tensor() -> None:
    assert tf.is_tensor(placed(np.zeros((5, 3), "uint8"), "CPU:0", for_gpu=False))


def images(dtype: str) -> Data:
    generator = np.random.default_rng(1)
    x = generator.integers(0, 2 if dtype == "bool" else 100, (230, 6, 6, 1)).astype(dtype)
    y = generator.integers(0, 3, 230).astype("int32")
    return Data(x[:150], y[:150], x[150:], y[150:])


def classifier() -> keras.Model:
    layers = keras.layers
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Rescaling(1 / 100), layers.Flatten(), layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def convolution() -> keras.Model:
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Rescaling(1.0), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def recurrence() -> keras.Model:
    layers = keras.layers
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Reshape((6, 6)), layers.Rescaling(1.0), layers.GRU(3)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16"])
@pytest.mark.parametrize("loop", ["device", "xla"])
def test_a_training_on_words_is_the_training_on_the_array(
    dtype: str, loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = []
    for here in (processor.Cpu(), GpuOnTheCpu()):
        monkeypatch.setattr(arrays, "this_processor", lambda here=here: here)
        recorder = Recorder()
        outcome = TrainingSession(classifier, images(dtype)).train(make_trial(7, loop=loop), recorder)
        assert outcome.status is Status.COMPLETED, outcome.log_tail
        histories.append(recorder.history)
    for one, other in zip(*histories, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("batch_size", [3, 7, 8, 50])
def test_whole_blocks_and_the_plain_rest_do_all_updates_of_every_epoch(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = []
    for here in (processor.Cpu(), GpuOnTheCpu()):
        monkeypatch.setattr(arrays, "this_processor", lambda here=here: here)
        recorder = Recorder()
        outcome = TrainingSession(dense_model, make_data()).train(make_trial(batch_size, loop="xla"), recorder)
        assert outcome.status is Status.COMPLETED, outcome.log_tail
        histories.append(recorder.history)
    for one, other in zip(*histories, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_compiling_for_a_gpu_changes_no_variable() -> None:
    """It takes a real update, so that cuDNN and what XLA compiles inside are ready."""
    placement = DataPlacement(as_keras_sees_them(make_data(), None), processor=GpuOnTheCpu())
    program = Program(dense_model(), placement.on_device, evaluation_batch_size=8)
    program.block(8, 3, jit_compile=False)
    before = [variable.numpy().copy() for variable in (*program.model.variables, *program.model.optimizer.variables)]
    program.compiled_block(8, 3, jit_compile=False)
    after = [variable.numpy() for variable in (*program.model.variables, *program.model.optimizer.variables)]
    assert program.is_compiled(8, jit_compile=False)
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def gpu_kernels(op: str) -> Iterator[tuple[dict[str, set[int]], set[str]]]:
    """The allowed types by attribute, and the arguments in host memory, of each GPU kernel of an operation."""
    kernels = kernel_def_pb2.KernelList()
    kernels.ParseFromString(_pywrap_tf_session.TF_GetBuffer(_pywrap_tf_session.TF_GetRegisteredKernelsForOp(op)))
    for kernel in kernels.kernel:
        if kernel.device_type in ("GPU", "DEFAULT"):
            allowed = {entry.name: set(entry.allowed_values.list.type) for entry in kernel.constraint}
            yield allowed, set(kernel.host_memory_arg)


def runs_on_a_gpu(operation: Any) -> bool:
    """Whether a GPU has a kernel for it that takes its first input, the data, where they are."""
    types = {name: operation.get_attr(name) for name in ("T", "Tparams", "Tindices", "type") if has(operation, name)}
    first = operation.op_def.input_arg[0].name
    for allowed, on_host in gpu_kernels(operation.type):
        fits = all(types[name].as_datatype_enum in kinds for name, kinds in allowed.items() if name in types and kinds)
        if fits and first not in on_host:
            return True
    return False


def has(operation: Any, name: str) -> bool:
    return any(attribute.name == name for attribute in operation.op_def.attr)


def operations_on_data(graph: Any, whole: set[str]) -> Iterator[Any]:
    """The operations that touch an array, or what was taken of it, until that is returned."""
    known = set(whole)
    for operation in graph.get_operations():
        is_data = operation.type not in ("Placeholder", "NoOp", "Identity", "Shape")
        if is_data and any(source.name in known for source in operation.inputs):
            known |= {output.name for output in operation.outputs}
            yield operation


def pick_of(pick: Any, leaf: Any) -> Any:
    """Bound, so that the array is captured as it is by a block: a small one would become a constant."""
    return tf.autograph.experimental.do_not_convert(lambda: pick(leaf))


def some_rows(leaf: Any) -> tf.Tensor:
    return gather(leaf, tf.constant([1, 2], tf.int64))


def some_in_a_row(leaf: Any) -> tf.Tensor:
    return take(leaf, 1, 2)


DTYPES = ["float32", "float16", "uint8", "int32", "int64", "bool"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_gpu_has_a_kernel_for_all_that_touches_the_data(dtype: str) -> None:
    placement = DataPlacement(as_keras_sees_them(images(dtype), None), processor=GpuOnTheCpu())
    touched = []
    for leaf in placement.on_device.train:
        words = leaf.words if isinstance(leaf, Rows) else leaf
        for pick in (some_rows, some_in_a_row):
            graph = tf.function(pick_of(pick, leaf)).get_concrete_function().graph
            captured = {inner.name for outer, inner in graph.captures if outer is words}
            assert captured
            touched += list(operations_on_data(graph, captured))
    assert {operation.type for operation in touched} >= {"GatherV2", "StridedSlice"}
    assert [operation.name for operation in touched if not runs_on_a_gpu(operation)] == []


# Every type with one model, and the other models with the type of images: tracing each takes a second.
@pytest.mark.parametrize(
    ("build", "dtype"), [*((classifier, dtype) for dtype in DTYPES), (convolution, "uint8"), (recurrence, "uint8")]
)
def test_a_block_captures_no_data_that_tensorflow_keeps_in_host_memory(build: Any, dtype: str) -> None:
    placement = DataPlacement(as_keras_sees_them(images(dtype), None), processor=GpuOnTheCpu())
    program = Program(build(), placement.on_device, evaluation_batch_size=8)
    captured = program.block(8, 3, jit_compile=False).concrete.graph.captures
    assert types_pb2.DT_INT32 not in {outer.dtype.as_datatype_enum for outer, _ in captured if outer.shape.rank}


def test_the_registry_tells_what_a_gpu_cannot_gather() -> None:
    """The reason for words: where this fails after an upgrade, they are not needed any more."""
    for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "uint64"):
        graph = tf.function(lambda dtype=dtype: tf.gather(tf.zeros((3, 2), dtype), [1])).get_concrete_function().graph
        assert not all(runs_on_a_gpu(each) for each in graph.get_operations() if each.type == "GatherV2")
