"""What a failure means: out of memory in all its faces, or a failure of the trial itself. Imports no TensorFlow."""

from __future__ import annotations

import errno
import re
import signal
import traceback

from tuning.trial import Status

# TensorFlow's errors that report a lack of memory only in their text: types by name, so that this stays importable
# without TensorFlow.
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

# Each text is reported or measured: tests/tuning/loops/failure_texts.txt has it with its source.
_ALLOCATION_FAILED = re.compile(
    r"Dst tensor is not initialized"
    r"|Failed copying input tensor(?!.* in order to run \S+: )"  # what follows the operation's name is the cause
    r"|CUDA_ERROR_OUT_OF_MEMORY"
    r"|RESOURCE_EXHAUSTED"
    r"|OOM when allocating"
    r"|[Oo]ut of memory while trying to allocate"
    r"|ran out of memory trying to allocate"
    r"|ran out of memory when allocating [1-9]"
    r"|[Ff]ailed to alloc(?:ate)? (?:request for )?[\d.]+"
    r"|[Ff]ailed to allocate (?:memory|scratch buffer)"
    r"|allocate pinned host memory"
    r"|CUDNN_STATUS_ALLOC_FAILED"
    r"|CUBLAS_STATUS_ALLOC_FAILED"
    r"|CUBLAS_STATUS_NOT_INITIALIZED"  # a handle needs memory beside the pool of TensorFlow
    r"|failed to create cublas handle: the resource allocation failed"
    r"|StreamExecutor without BLAS support"
    r"|ould not create cudnn handle: CUDNN_STATUS_INTERNAL_ERROR"
    r"|can't start new thread"
    r"|std::bad_alloc"
    r"|Cannot allocate memory"
)
_COLOURS = re.compile(r"\x1b\[[\d;]*m")  # keras 3.15 sets some errors in bold
_PLACE = re.compile(r'\s*(?:File "|Graph execution error|Detected at node|<stack traces unavailable>)')
_CALLED = re.compile(r"^\{\{function_node [^}]*\}\} ")  # of what runs in a tf.data pipeline
_NODES = re.compile(r"\s*\[\[\{\{")
# What cuDNN says of a size that is too large for it, but also of much that does not end a process.
_SIZE_REFUSED = re.compile(r"CUDNN_STATUS_NOT_SUPPORTED|No algorithm worked!|Failed to get convolution algorithm")
# Lines that speak of memory, and yet of no failure, or of another resource that is exhausted.
_BESIDE_MEMORY = re.compile(
    r"this is not a failure|This is benign"
    r"|No space left on device|[Qq]uota exceeded|Too many open files"
)
# After one of these nothing works in the process any more, so that whatever it says of memory is a consequence. The
# names are those of which CUDA's documentation says that the process must end, and those of broken hardware.
_DEAD_DEVICE = re.compile(
    r"CUDA_ERROR_(?:ILLEGAL_ADDRESS|LAUNCH_FAILED|LAUNCH_TIMEOUT|MISALIGNED_ADDRESS|ILLEGAL_INSTRUCTION|INVALID_PC"
    r"|INVALID_ADDRESS_SPACE|HARDWARE_STACK_ERROR|ASSERT|TENSOR_MEMORY_LEAK|ECC_UNCORRECTABLE|NVLINK_UNCORRECTABLE)"
    r"(?:: [\w -]*\w)?"
    r"|an illegal memory access was encountered"
)
_CUDA_ERROR = re.compile(r"CUDA_ERROR_(?!NO_DEVICE)\w+(?:: [\w -]*\w)?")
_FATAL_LINE = re.compile(r"(?:\d{4}-\d\d-\d\d [\d:.]+: F|\bF\d{4} [\d:.]+ +\d+|^F) \S+:\d+\] [^\n]*", re.MULTILINE)
_UNDER_A_LIMIT = {
    signal.SIGSEGV: "as TensorFlow does under a tight limit on address space",
    signal.SIGABRT: "as TensorFlow does when a limit on address space leaves no room for a thread or a buffer",
}
_TAIL_LINES = 40
_REASON_LENGTH = 400


def status_of_error(error: BaseException) -> tuple[Status, str]:
    """Return the status of a trial that raised `error`, and one line that says why.

    Decides by type first; the text counts only for types that TensorFlow also uses for other failures. A device that a
    CUDA error has made useless is a failure, whatever else the text says; the line names that error.
    """
    if _is_out_of_memory(error):
        return Status.OUT_OF_MEMORY, one_line(error)
    reason, named = one_line(error), _error_of_a_dead_device(str(error))
    return Status.FAILED, reason if named is None or named in reason else _fold(f"{named}: {reason}")


def status_of_exit(exit_code: int | None, log_tail: str, *, limited: bool = False) -> tuple[Status, str]:
    """Return the status of the trial that a dead worker was running, and one line that says why.

    A segmentation fault or an abort is a crash, which says nothing of larger batch sizes, unless the log tells of an
    allocation that failed, or address space is limited: TensorFlow then dies so. A CUDA error that ends the use of the
    device is a crash, too, whatever the log says of memory.

    Args:
        exit_code: As `multiprocessing.Process.exitcode`: -n for death by signal n; None if unknown.
        log_tail: The last lines that the worker wrote.
        limited: Whether the worker's address space was limited, as by `ulimit -v`.
    """
    signalled = signal.Signals(-exit_code) if exit_code is not None and _is_signal(-exit_code) else None
    if signalled is signal.SIGKILL:
        return Status.OUT_OF_MEMORY, "The worker died of SIGKILL, as the system does when memory runs out."
    died = f"of {signalled.name}" if signalled else f"with exit code {exit_code}"
    if named := _error_of_a_dead_device(log_tail):
        return Status.FAILED, f"The worker died {died} after {named}."
    if limited and signalled in _UNDER_A_LIMIT:
        return Status.OUT_OF_MEMORY, f"The worker died {died}, {_UNDER_A_LIMIT[signalled]}."
    if _tells(_ALLOCATION_FAILED, log_tail):
        return Status.OUT_OF_MEMORY, f"The worker died {died} after reporting a failed allocation."
    others = [match[0] for match in _CUDA_ERROR.finditer(log_tail)]
    return Status.FAILED, f"The worker died {died} after {others[-1]}." if others else f"The worker died {died}."


def fatal_line(log: str) -> str:
    """Return the line in which a library says why it aborts the process, in at most 400 characters, or nothing.

    TensorFlow marks it with an F; a trace of the stack of any length follows it.
    """
    fatal = [match[0] for match in _FATAL_LINE.finditer(log)]
    return _fold(fatal[-1]) if fatal else ""


def one_line(error: BaseException) -> str:
    """`Type: message`, folded into one line of at most 400 characters, without colours and places in TensorFlow."""
    message = " ".join(_COLOURS.sub("", _without_places(str(error))).split())
    return _fold(f"{type(error).__name__}: {message}" if message else type(error).__name__)


def _without_places(text: str) -> str:
    """Return an error of a graph without what says where its nodes were made and run, which hides the cause."""
    if not text.startswith("Graph execution error"):
        return _NODES.split(_CALLED.sub("", text))[0] or text
    return "\n".join(line for line in text.partition("\n\t [[{{node")[0].splitlines() if not _PLACE.match(line))


def traceback_tail(error: BaseException) -> str:
    """Return the last lines of the error's traceback, for a `TrialOutcome.log_tail`."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(lines[-_TAIL_LINES:])


def _is_out_of_memory(error: BaseException) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error)
    if "ResourceExhaustedError" in names:  # TensorFlow also raises it for a full disk and for too many open files
        return _BESIDE_MEMORY.search(text) is None
    if not names & _AMBIGUOUS_TYPES or _error_of_a_dead_device(text):
        return False
    return _tells(_ALLOCATION_FAILED, text) or _tells(_SIZE_REFUSED, text)


def _tells(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a line of the text matches that does not itself say that it is no lack of memory."""
    return any(pattern.search(line) and not _BESIDE_MEMORY.search(line) for line in text.splitlines())


def _error_of_a_dead_device(text: str) -> str | None:
    match = _DEAD_DEVICE.search(text)
    return match[0] if match else None


def _fold(text: str) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= _REASON_LENGTH else folded[: _REASON_LENGTH - 1] + "…"


def _is_signal(number: int) -> bool:
    return number in {member.value for member in signal.Signals}
