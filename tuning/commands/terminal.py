"""What a command writes to the terminal."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def silent_start() -> Iterator[None]:
    """Keep TensorFlow's start-up messages, which it writes past Python, off the terminal unless it cannot start."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except ValueError:  # bad input, told in one line
            raise
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def tell(answer: Any, asked: argparse.Namespace) -> int:
    """Show the answer as asked, and say how to browse its trials."""
    if asked.json:
        print(json.dumps(answer.to_json()))
    else:
        answer.show(console())
        where = f" --tracking-uri {answer.tracking_uri}" if asked.tracking_uri else ""
        print(f"\nBrowse the trials: batch-size ui {answer.study}{where}")
    return 0


def console() -> Any:
    """The terminal; 80 columns wide where it is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 80)
