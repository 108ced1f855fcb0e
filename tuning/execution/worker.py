"""The worker process: builds, trains and measures what it is asked to, one request at a time.

Started as a fresh interpreter, not by multiprocessing, whose spawn would run the user's script again: a script
without a `__main__` guard, or a notebook, works unchanged. Everything that must precede TensorFlow happens first.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tuning.execution.memory_limit import watch_memory
from tuning.probes import DescribeRequest, Request
from tuning.trial import EpochReport, TrialRequest

STOP = "stop"
READY = "ready"


@dataclass(frozen=True)
class Hello:
    """The first message to a worker.

    Args:
        import_path: The driver's `sys.path`, so that the user's modules are found.
        payload: Pickled `(hypermodel, callbacks, fit_options)`, opened only when TensorFlow is configured.
        data_directory: Where the arrays are.
        memory_limit_bytes: Resident memory that this process may use, None for no limit.
    """

    import_path: list[str]
    payload: bytes
    data_directory: Path
    memory_limit_bytes: int | None


def main(file_descriptor: int) -> None:
    """Serve requests from the driver until it closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    _die_with_parent()
    connection: Connection[Any, Any] = Connection(file_descriptor)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        hello: Hello = connection.recv()
        session = _open_session(hello)
        connection.send(READY)
        while True:
            _serve(session, connection.recv(), connection)
    _leave()


def _open_session(hello: Hello) -> Any:
    sys.path[:] = hello.import_path
    from tuning.execution.data_files import read_data
    from tuning.training.session import TrainingSession

    _let_gpu_memory_grow()
    hypermodel, callbacks, fit_options = pickle.loads(hello.payload)
    session = TrainingSession(hypermodel, read_data(hello.data_directory), callbacks=callbacks, fit_options=fit_options)
    if hello.memory_limit_bytes is not None:
        watch_memory(hello.memory_limit_bytes)
    return session


def _serve(session: Any, request: Request | tuple[str, str], connection: Connection[Any, Any]) -> None:
    if isinstance(request, DescribeRequest):
        connection.send(session.describe(request))
    elif isinstance(request, TrialRequest):
        connection.send(session.train(request, _reporter(connection, request.trial_id)))
    elif not isinstance(request, tuple):
        connection.send(session.probe(request))
    # what is left is a stop for a trial that has already ended


def _reporter(connection: Connection[Any, Any], trial_id: str) -> Callable[[EpochReport], bool]:
    def report(epoch: EpochReport) -> bool:
        connection.send(epoch)
        keep_going = True
        while connection.poll():
            keep_going = (connection.recv() != (STOP, trial_id)) and keep_going
        return keep_going

    return report


def _let_gpu_memory_grow() -> None:
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def _leave() -> None:
    """End at once: tearing TensorFlow down takes a second (measured); what was registered for the exit still runs."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _die_with_parent() -> None:
    if sys.platform == "linux":  # a killed driver must not leave a training on the device
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
