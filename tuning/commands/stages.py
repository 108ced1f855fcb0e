"""Stages: what a command is doing before there is anything to show, told at once on a terminal."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.live import Live
    from rich.spinner import Spinner


class Stages:
    """A spinner with the name of the stage that runs; silent where standard error is no terminal, or when told so.

    It writes to the terminal itself, past `silent_start`, which holds back what TensorFlow says meanwhile.

    Args:
        quiet: Whether to show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._shows = sys.stderr.isatty() and not quiet
        self._shown: Live | None = None

    def __call__(self, name: str) -> None:
        """Show the name of the stage that begins; an empty one ends the spinner, since others write now."""
        if not self._shows:
            return
        if not name:
            self.close()
        elif self._shown is None:
            self._shown = _spinner(name)
            self._shown.start(refresh=True)
        else:
            self._shown.update(_told(name), refresh=True)

    def close(self) -> None:
        """Take the spinner away."""
        if self._shown is not None:
            self._shown.stop()
            self._shown.console.file.close()
            self._shown = None

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _spinner(name: str) -> Live:
    from rich.console import Console  # a tenth of a second, which only a terminal needs
    from rich.live import Live

    terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8", errors="replace")
    return Live(
        _told(name),
        console=Console(file=terminal),
        refresh_per_second=12.5,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _told(name: str) -> Spinner:
    from rich.spinner import Spinner

    return Spinner("dots", f"{name} …")
