"""Reads the values of options as argparse calls for them; what is wrong becomes one line with the option's name."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from tuning.search.limits import ALLOCATED, MOST_REPEATS, check_study_name


def count(text: str, most: int = 10**9) -> int:
    """Read a whole number of at least 1."""
    return _whole(text, least=1, most=most)


def repeats(text: str) -> int:
    """Read how many trainings there are of something."""
    return count(text, MOST_REPEATS)


def repeats_or_auto(text: str) -> int | str:
    """Read how many trainings there are of something, or the word that lets the search decide."""
    return text if text == ALLOCATED else repeats(text)


def seed(text: str) -> int:
    """Read a seed."""
    return _whole(text, least=0, most=10**9)


def port(text: str) -> int:
    """Read the number of a port."""
    return _whole(text, least=1, most=65535)


def _whole(text: str, *, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}; got {text!r}")
    return int(text)


def study_name(text: str) -> str:
    """Read the name of a study."""
    try:
        check_study_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def word(text: str) -> str:
    """Read what may not be empty, as an unset variable of a shell is."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"must not be empty; got {text!r}. Leave the option out for its default")
    return text


def check_output(option: str, text: str) -> None:
    """Raise ValueError unless a file could be written there, before minutes are spent on what goes into it."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{option} must name a file in a folder that exists and can be written; got {text!r}.")
