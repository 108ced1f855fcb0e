"""Signals that end a command: the first has it stop and report, the second ends it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""The exit status of a command that a signal has ended."""

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def heed_signals(leave: Callable[[int], Any] = os._exit) -> None:
    """Have this process's main thread raise KeyboardInterrupt at the first signal, and leave at the second.

    What the process was told to ignore, as `nohup` and a shell's background do, stays ignored.

    Args:
        leave: Ends the process with a status.
    """
    came: list[int] = []

    def heed(number: int, _: FrameType | None) -> None:
        came.append(number)
        if number == getattr(signal, "SIGHUP", None):
            _forget_terminal()
        if len(came) == 1:
            raise KeyboardInterrupt
        _kill_children()
        _show_cursor()
        leave(INTERRUPTED)

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, heed)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let signals that would end a command wait until the block has ended, such as while a process is started."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals interrupt the main thread alone
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    heeded = {number: handler for number, handler in before.items() if callable(handler)}
    for number in heeded:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


def _kill_children() -> None:
    """Kill what this process has started, and what that has started."""
    psutil: Any = sys.modules.get("psutil")
    if not hasattr(psutil, "Process"):  # it is loaded before anything is started
        return
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()


def _forget_terminal() -> None:
    """Send what is still told nowhere: the terminal has gone, and writing to it would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):  # one that has hung up no longer says that it is a terminal
                os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _show_cursor() -> None:
    """Show the cursor that live progress hides."""
    with contextlib.suppress(OSError):
        if os.isatty(2):
            os.write(2, b"\x1b[?25h\n")
