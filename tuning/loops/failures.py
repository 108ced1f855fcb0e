"""What a failure means: out of memory in all its faces, or a failure of the trial itself. Imports no TensorFlow."""

from __future__ import annotations

import errno
import re
import signal
import traceback

from tuning.trial import Status

# TensorFlow's errors that report a lack of memory only in their text: types by name, so that this stays importable
# without TensorFlow. Seen on GPU with TF #7025, #55502, #60401; CUDNN_STATUS_NOT_SUPPORTED at large batches.
_AMBIGUOUS_TYPES = {
    "InternalError",
    "UnknownError",
    "UnimplementedError",
    "NotFoundError",
    "AbortedError",
    "FailedPreconditionError",
    "XlaRuntimeError",
    "RuntimeError",
}
_MEMORY_TEXTS = (
    "Dst tensor is not initialized",
    "Failed copying input tensor",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "RESOURCE_EXHAUSTED",
    "OOM when allocating",
    "failed to allocate",
    "Failed to allocate",
    "CUDNN_STATUS_NOT_SUPPORTED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "can't start new thread",
    "std::bad_alloc",
    "Cannot allocate memory",
)
_FATAL_LINE = re.compile(r"(?:\d{4}-\d\d-\d\d [\d:.]+: F|\bF\d{4} [\d:.]+ +\d+|^F) \S+:\d+\] [^\n]*", re.MULTILINE)
_UNDER_A_LIMIT = {
    signal.SIGSEGV: "as TensorFlow does under a tight limit on address space",
    signal.SIGABRT: "as TensorFlow does when a limit on address space leaves no room for a thread or a buffer",
}
_TAIL_LINES = 40
_REASON_LENGTH = 400


def status_of_error(error: BaseException) -> tuple[Status, str]:
    """Return the status of a trial that raised `error`, and one line that says why.

    Decides by type first; the text counts only for types that TensorFlow also uses for other failures.
    """
    status = Status.OUT_OF_MEMORY if _is_out_of_memory(error) else Status.FAILED
    return status, one_line(error)


def status_of_exit(exit_code: int | None, log_tail: str, *, limited: bool = False) -> tuple[Status, str]:
    """Return the status of the trial that a dead worker was running, and one line that says why.

    A segmentation fault or an abort is a crash, which says nothing of larger batch sizes, unless the log tells of an
    allocation that failed, or address space is limited: TensorFlow then dies so.

    Args:
        exit_code: As `multiprocessing.Process.exitcode`: -n for death by signal n; None if unknown.
        log_tail: The last lines that the worker wrote.
        limited: Whether the worker's address space was limited, as by `ulimit -v`.
    """
    signalled = signal.Signals(-exit_code) if exit_code is not None and _is_signal(-exit_code) else None
    if signalled is signal.SIGKILL:
        return Status.OUT_OF_MEMORY, "The worker died of SIGKILL, as the system does when memory runs out."
    if limited and signalled in _UNDER_A_LIMIT:
        return Status.OUT_OF_MEMORY, f"The worker died of {signalled.name}, {_UNDER_A_LIMIT[signalled]}."
    died = f"of {signalled.name}" if signalled else f"with exit code {exit_code}"
    if any(text in log_tail for text in _MEMORY_TEXTS):
        return Status.OUT_OF_MEMORY, f"The worker died {died} after reporting a failed allocation."
    return Status.FAILED, f"The worker died {died}."


def fatal_line(log: str) -> str:
    """Return the line in which a library says why it aborts the process, in at most 400 characters, or nothing.

    TensorFlow marks it with an F; a trace of the stack of any length follows it.
    """
    fatal = [match[0] for match in _FATAL_LINE.finditer(log)]
    return _fold(fatal[-1]) if fatal else ""


def one_line(error: BaseException) -> str:
    """`Type: message`, folded into one line of at most 400 characters."""
    message = " ".join(str(error).split())
    return _fold(f"{type(error).__name__}: {message}" if message else type(error).__name__)


def traceback_tail(error: BaseException) -> str:
    """Return the last lines of the error's traceback, for a `TrialOutcome.log_tail`."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def _is_out_of_memory(error: BaseException) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, MemoryError) or "ResourceExhaustedError" in names:
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return bool(names & _AMBIGUOUS_TYPES) and any(text in str(error) for text in _MEMORY_TEXTS)


def _fold(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _REASON_LENGTH else folded[: _REASON_LENGTH - 1] + "…"


def _is_signal(number: int) -> bool:
    return number in {member.value for member in signal.Signals}
