"""Failures told apart: by type first, by text only for ambiguous types, by exit code for dead workers."""

import errno

import numpy as np
import pytest
import tensorflow as tf

from tuning.loops.failures import one_line, status_of_error, status_of_exit, traceback_tail
from tuning.trial import Status


def tensorflow_error(kind, message):
    return kind(None, None, message)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((10**12,), np.dtype("float32")),
        tensorflow_error(tf.errors.ResourceExhaustedError, "OOM when allocating tensor with shape[64,1024]"),
        tensorflow_error(tf.errors.InternalError, "Dst tensor is not initialized."),
        tensorflow_error(tf.errors.InternalError, "Failed copying input tensor from CPU:0 to GPU:0"),
        tensorflow_error(tf.errors.UnknownError, "CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
        tensorflow_error(tf.errors.InternalError, "RESOURCE_EXHAUSTED: Out of memory while trying to allocate"),
        tensorflow_error(tf.errors.UnimplementedError, "CUDNN_STATUS_NOT_SUPPORTED"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_face_of_out_of_memory_is_recognised(error):
    assert status_of_error(error)[0] is Status.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "error",
    [
        ValueError("the docs say RESOURCE_EXHAUSTED"),
        tensorflow_error(tf.errors.InternalError, "something else"),
        tensorflow_error(tf.errors.InvalidArgumentError, "indices out of range"),
        OSError(errno.ENOENT, "No such file"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_failures_whatever_their_text(error):
    assert status_of_error(error)[0] is Status.FAILED


def test_reason_is_one_bounded_line():
    status, reason = status_of_error(ValueError("first\n\n   second " + "x" * 1000))
    assert status is Status.FAILED
    assert reason.startswith("ValueError: first second xxx")
    assert len(reason) == 400
    assert one_line(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("exit_code", "log_tail", "limited"),
    [(-9, "", False), (-11, "", True), (-6, "", True), (-6, "what(): std::bad_alloc", False)],
)
def test_death_of_a_lack_of_memory_is_told_by_signal_limit_or_log(exit_code, log_tail, limited):
    status, reason = status_of_exit(exit_code, log_tail, limited=limited)
    assert status is Status.OUT_OF_MEMORY
    assert "\n" not in reason


@pytest.mark.parametrize("exit_code", [-11, -6, -4])
def test_a_crash_says_nothing_of_memory(exit_code):
    assert status_of_exit(exit_code, "Fatal Python error")[0] is Status.FAILED


@pytest.mark.parametrize(("exit_code", "words"), [(-15, "SIGTERM"), (1, "exit code 1"), (None, "exit code None")])
def test_any_other_death_is_a_failure(exit_code, words):
    status, reason = status_of_exit(exit_code, "Traceback: a typo")
    assert status is Status.FAILED
    assert words in reason


def test_the_log_decides_where_the_exit_code_does_not():
    assert status_of_exit(1, "... OOM when allocating tensor ...")[0] is Status.OUT_OF_MEMORY


def test_traceback_tail_ends_with_the_error_and_keeps_its_cause():
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        tail = traceback_tail(error)
    assert tail.endswith("ValueError: outer")
    assert "KeyError: 'inner'" in tail
