"""The worker process: builds, trains and measures what it is asked to, one request at a time.

Started as a fresh interpreter, not by multiprocessing, whose spawn would run the user's script again: a script
without a `__main__` guard, or a notebook, works unchanged. Everything that must precede TensorFlow happens first.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import hashlib
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

import numpy as np

from search_spaces.data import Data, leaves, map_arrays
from tuning.messages import DescribeRequest, Request
from tuning.run.memory_limit import watch_memory
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
    from tuning.loops.session import TrainingSession

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


_STRUCTURE = "structure.pickle"


def write_data(data: Data, directory: Path) -> None:
    """Write every array to `directory` as `.npy`, and how they nest beside them."""
    directory.mkdir(parents=True, exist_ok=True)
    names = (f"{number}.npy" for number in range(10**9))

    def write(array: np.ndarray[Any, Any]) -> str:
        name = next(names)
        np.save(directory / name, array, allow_pickle=False)
        return name

    structure = {part: map_arrays(write, arrays) for part, arrays in data.parts().items()}
    (directory / _STRUCTURE).write_bytes(pickle.dumps(structure))


def read_data(directory: Path) -> Data:
    """The data that `write_data` wrote, as read-only memory maps."""
    structure = pickle.loads((directory / _STRUCTURE).read_bytes())

    def read(name: str) -> np.ndarray[Any, Any]:
        loaded: np.ndarray[Any, Any] = np.load(directory / name, mmap_mode="r")
        return loaded

    return Data(**{part: map_arrays(read, names) for part, names in structure.items()})


def fingerprint(data: Data) -> str:
    """A short hash of shapes, dtypes and values, to tell whether a study continues on the same data."""
    digest = hashlib.blake2b(digest_size=8)
    for part, arrays in data.parts().items():
        for leaf in leaves(arrays):
            digest.update(f"{part}{leaf.shape}{leaf.dtype}".encode())
            digest.update(np.ascontiguousarray(leaf).data.cast("B") if leaf.size else b"")
    return digest.hexdigest()
