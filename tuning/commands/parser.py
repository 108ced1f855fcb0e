"""Parser: argparse whose errors are one line with the word that was probably meant, and whose help has examples."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from tuning.passwords import without_passwords

BAD_INPUT = 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and takes no option by its beginning: `--seed 7` would mean `--seeds 7`.

    Args:
        example: A command to show below the options.
        args: As argparse takes them; likewise `rest`.
    """

    def __init__(self, *args: Any, example: str = "", **rest: Any) -> None:
        usual = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        if example:
            usual["epilog"] = f"example:\n  {example}"
        super().__init__(*args, **{**usual, **rest})

    def parse_known_args(
        self, args: Any = None, namespace: Any = None
    ) -> Any:  # argparse's own signature is overloaded
        """Refuse what is unknown where it stands, so that the line names the command and its own options."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [option for option in self._option_string_actions if option.startswith("--")]
            meant = probably_meant(unknown[0].partition("=")[0], options) if unknown[0].startswith("-") else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        told = " ".join(message.split()).rstrip(".")
        if wrong := re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", told):
            known = [word.strip(" '") for word in wrong[2].split(",")]
            told += probably_meant(wrong[1], known)
        end = "" if told.endswith("?") else "."
        print(f"{self.prog}: {without_passwords(told)}{end} See {self.prog} --help.", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def probably_meant(word: str, known: Sequence[str]) -> str:
    """Return a question that names the known word that is most alike; empty if none is.

    >>> probably_meant("gird", ["grid", "bayes"])
    '; did you mean grid?'
    """
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


class Version(argparse.Action):
    """Prints the version of the package and ends; it is looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **rest: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **{**rest, "default": argparse.SUPPRESS})

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        import importlib.metadata

        print(f"batch-size {importlib.metadata.version('batch-size-tuner')}")
        parser.exit()
