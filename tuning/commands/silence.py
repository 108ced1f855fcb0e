"""Silence at the start: what TensorFlow writes past Python is kept off the terminal unless it cannot start."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def silent_start() -> Iterator[None]:
    """Keep TensorFlow's start-up messages, which it writes past Python, off the terminal unless it cannot start."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except (ValueError, KeyboardInterrupt):  # told in one line
            raise
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
