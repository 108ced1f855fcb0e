"""How much may be asked for, and how a study may be called; light to import, since the command line checks it first."""

from __future__ import annotations

from numbers import Integral
from typing import Any

MOST_REPEATS = 10_000
"""The most seeds and proposals of a search; its plan is held in memory."""
ALLOCATED = "auto"
"""In the place of a number of seeds: two, and more for those batch sizes that are worth them."""
_LONGEST_NAME = 200  # bytes: it names a directory, and what is set aside gets the date behind it


def check_study_name(name: str) -> None:
    """Raise ValueError unless a study may have this name, that of a directory in the directory of studies."""
    is_hidden = name.strip(".") == "" or name != name.strip()
    if is_hidden or "/" in name or not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
        raise ValueError(
            f"A study's name must be that of a folder: printable, without '/', at most {_LONGEST_NAME} bytes long, "
            f"not '.' or '..'; got {name!r:.80}"
        )


def check_repeats(name: str, number: Any) -> None:
    """Raise ValueError unless this is a number of seeds or proposals."""
    if isinstance(number, bool) or not isinstance(number, Integral) or not 1 <= int(number) <= MOST_REPEATS:
        raise ValueError(f"{name} must be a whole number from 1 to {MOST_REPEATS}; got {number!r}.")
