"""`batch-size completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import argparse
from typing import Any

from tuning.commands.parser import Parser

SHELLS = ("bash", "zsh", "tcsh")


def add(commands: Any, whole: Parser) -> None:
    """Declare the command.

    Args:
        commands: To which it is added.
        whole: The parser of all commands, which is completed.
    """
    about = "print a script by which a shell completes commands and options; needs the extra completion"
    example = 'eval "$(batch-size completion bash)"'
    parser = commands.add_parser("completion", help=about, description=about, example=example)
    parser.add_argument("shell", choices=SHELLS, help="the shell")
    parser.set_defaults(run=lambda asked: completion(asked, whole))


def completion(asked: argparse.Namespace, whole: Parser) -> int:
    """`batch-size completion`: a script for a shell.

    Raises:
        ValueError: If the package that writes it is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError:
        raise ValueError(
            "completion needs the package shtab; got none. Install the extra: pip install "
            "'batch-size-tuner[completion]'."
        ) from None
    print(shtab.complete(whole, asked.shell))
    return 0
