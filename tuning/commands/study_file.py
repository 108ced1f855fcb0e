"""A study as a file: `batch-size run study.toml`, whose names are those of the options, and `--save-config`."""

from __future__ import annotations

import argparse
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuning.commands.parser import Parser, probably_meant
from tuning.commands.values import word
from tuning.passwords import without_passwords

KINDS = ("tune", "grid", "bayes")
COMMAND, WORKLOAD = "command", "workload"
_NOT_KEPT = ("run", COMMAND, WORKLOAD, "fresh", "json", "quiet", "save_config")
"""What is no part of a study, or stands on its own."""
_VARIABLES = {"tracking_uri": "MLFLOW_TRACKING_URI", "storage": "BATCH_SIZE_STORAGE"}


def add(commands: Any, whole: Parser) -> None:
    """Declare the command.

    Args:
        commands: To which it is added.
        whole: The parser of all commands, which reads what the file says.
    """
    about = "search as a .toml file says, whose names are those of the options"
    parser = commands.add_parser("run", help=about, description=about, example="batch-size run study.toml --seeds 5")
    parser.add_argument("file", type=word, metavar="FILE", help="such as --save-config writes")
    about = "options of the command in the file; they count more than what it says"
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="OPTION", help=about)
    parser.set_defaults(run=lambda asked: run(asked, whole))


def run(asked: argparse.Namespace, whole: Parser) -> int:
    """`batch-size run`: the search that a file describes."""
    (commands,) = (each for each in whole._actions if isinstance(each, argparse._SubParsersAction))
    kinds = {name: commands.choices[name] for name in KINDS}
    words = read_words(Path(asked.file), kinds)
    found = whole.parse_args([*words, *asked.options])
    return int(found.run(found))


def read_words(path: Path, kinds: Mapping[str, argparse.ArgumentParser]) -> list[str]:
    """Return the words of the command line that a file stands for.

    Args:
        path: The file.
        kinds: The commands that it may name, with their parsers.

    Raises:
        ValueError: If it is no TOML, names no such command or no workload, or an option that the command has not.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"A study's file must exist; got {path}. Write one with --save-config.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"A study's file must be TOML; {path} is not: {error}.") from None
    command, workload = told.pop(COMMAND, None), told.pop(WORKLOAD, None)
    if command not in kinds:
        raise ValueError(f"{path} must have a command, one of {', '.join(kinds)}; got {command!r}.")
    if not isinstance(workload, str):
        raise ValueError(f"{path} must have a workload, such as workload = 'digits'; got {workload!r}.")
    options = {name for name in kinds[command]._option_string_actions if name.startswith("--")}
    return [str(command), workload, *(word for name, value in told.items() for word in _words(name, value, options))]


def _words(name: str, value: Any, options: set[str]) -> Iterator[str]:
    """Yield the words of an option; a switch that is off is left out where there is no option to say so."""
    option = f"--{name}"
    if option not in options:
        known = [known.removeprefix("--") for known in options]
        raise ValueError(f"A study's file must have options of its command; got {name!r}{probably_meant(name, known)}")
    if value is True:
        yield option
    elif value is False:
        if f"--no-{name}" in options:
            yield f"--no-{name}"
    elif isinstance(value, list):
        yield f"{option}={','.join(map(str, value))}"
    else:
        yield f"{option}={value}"


def to_toml(kind: str, asked: argparse.Namespace) -> str:
    """Return the file of a search: its command, its workload, and every option that has a value.

    An address with a password is left out, and a comment says which variable of the environment may tell it.

    Args:
        kind: The command.
        asked: Its arguments.
    """
    found = {COMMAND: kind, WORKLOAD: asked.workload}
    found |= {name: value for name, value in vars(asked).items() if name not in _NOT_KEPT and value is not None}
    lines = [_line(name, value) for name, value in found.items()]
    return "\n".join(["# Search by: batch-size run THIS_FILE. Names are those of the options.", *lines]) + "\n"


def _line(name: str, value: Any) -> str:
    if name in _VARIABLES and without_passwords(value) != value:
        return f"# {name.replace('_', '-')} has a password: give it by {_VARIABLES[name]}."
    return f"{name.replace('_', '-')} = {_literal(value)}"


def _literal(value: Any) -> str:
    """Return a value as TOML writes it; a JSON string is a TOML string, too."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
