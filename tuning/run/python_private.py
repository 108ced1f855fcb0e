"""What Python has no public name for, each with what breaks when it goes. Written against CPython 3.11 to 3.14."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any, NoReturn

_CANNOT_WRITE = 120  # Python's own status where its last output cannot be written


def connection_of(file_descriptor: int) -> Connection[Any, Any]:
    """Return the end of a pipe that a parent handed down by its number.

    The class is public, its constructor is not: multiprocessing hands connections down only to processes that it
    spawns itself, which run the user's script again. Without it no worker can be reached.
    """
    return Connection(file_descriptor)


def run_exit_functions() -> None:
    """Run what was registered with `atexit`, in a process that ends by `os._exit`.

    Without `atexit._run_exitfuncs` such functions, for example the user's, do not run when a worker ends.
    """
    with contextlib.suppress(AttributeError):
        atexit._run_exitfuncs()


def end_threads() -> None:
    """Wait for threads that are no daemons, as Python does when it ends; idle threads of pools are ended.

    Without `threading._shutdown` a process that ends by `os._exit` does not wait for what such threads still do.
    """
    with contextlib.suppress(AttributeError):
        threading._shutdown()  # type: ignore[attr-defined]


def leave(status: int) -> NoReturn:
    """End this process at once: threads and exit functions have their turn, and what was printed is written.

    Python would take down every module before, which takes a second with TensorFlow or MLflow (measured).
    """
    with contextlib.suppress(KeyboardInterrupt):
        end_threads()
        run_exit_functions()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # closed, such as by `| head`
        status = status or _CANNOT_WRITE
    os._exit(status)


def die_with_parent() -> None:
    """Have Linux kill this process as soon as its parent ends, so that a killed driver leaves no training behind.

    `prctl` is the C library's, without a name in Python. Elsewhere a worker ends when it next talks to its driver.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
