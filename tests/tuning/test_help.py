"""What the command line says before it does anything: help, version, what was meant, first words on a terminal."""

from __future__ import annotations

import argparse
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuning.cli import main, make_parser
from tuning.commands.parser import probably_meant

HEAVY = ("numpy", "scipy", "optuna", "mlflow", "tensorflow", "keras", "rich", "matplotlib", "pandas")


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = [action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def told_defaults() -> Iterator[tuple[str, argparse.Action]]:
    for name, parser in commands().items():
        for action in parser._actions:
            if action.option_strings and action.default not in (None, False, argparse.SUPPRESS):
                yield name, action


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    assert all(f"    {name}" in told for name in commands())


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert re.fullmatch(r"batch-size \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_help_loads_nothing_that_takes_long() -> None:
    code = f"import sys, tuning.cli; tuning.cli.make_parser(); print([name for name in {HEAVY} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_every_command_has_an_example_that_it_takes() -> None:
    for name, parser in commands().items():
        assert parser.epilog, name
        example = parser.epilog.removeprefix("example:\n  ")
        words = shlex.split(re.sub(r'eval "\$\((.*)\)"', r"\1", example))
        assert words[:2] == ["batch-size", name]
        make_parser().parse_args(words[1:])


@pytest.mark.parametrize(("command", "action"), list(told_defaults()), ids=lambda each: getattr(each, "dest", each))
def test_help_tells_the_default(command: str, action: argparse.Action) -> None:
    default = "on" if action.default is True else f"{action.default:g}" if isinstance(action.default, float) else None
    assert f"(default: {default or action.default}" in (action.help or "")


def test_help_tells_the_bounds_of_each_kind_of_search(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, bound in (("tune", "default: 1)"), ("grid", "default: 8)")):
        assert bound in " ".join(commands()[kind].format_help().split())
    assert capsys.readouterr().out == ""


def test_what_nothing_is_like_is_no_guess() -> None:
    assert probably_meant("frobnicate", ["grid", "bayes"]) == ""
    assert probably_meant("--seed", ["--seeds", "--storage"]) == "; did you mean --seeds?"


SPINNER = """
import os, sys
from tuning.commands.silence import silent_start
from tuning.commands.stages import Stages
with Stages(quiet=len(sys.argv) > 1) as stage:
    stage("Loading TensorFlow")
    with silent_start():
        os.write(2, b"noise past Python")
        stage("Building the model")
    stage("")
    os.write(2, b"|trials|")
"""


@pytest.mark.parametrize(("words", "shows"), [((), True), (("quiet",), False)])
def test_stages_are_named_on_a_terminal_also_while_tensorflow_is_kept_silent(words: tuple[str], shows: bool) -> None:
    reader, terminal = pty.openpty()
    xterm = {**os.environ, "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", SPINNER, *words], stderr=terminal, check=True, env=xterm)
    os.close(terminal)
    told = _read_all(reader)
    assert ("Loading TensorFlow …" in told, "Building the model …" in told) == (shows, shows)
    assert "noise" not in told
    assert told.endswith("|trials|")


def _read_all(reader: int) -> str:
    found = b""
    try:
        while part := os.read(reader, 4096):
            found += part
    except OSError:  # the other end is closed
        pass
    os.close(reader)
    return found.decode()


def test_stages_say_nothing_to_a_file() -> None:
    done = subprocess.run([sys.executable, "-c", SPINNER], capture_output=True, check=True)
    assert done.stderr == b"|trials|"


def test_completion_knows_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab", reason="shtab, of the extra completion, is not installed")
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert "--batch-sizes" in script
    assert "bayes" in script


def test_completion_without_its_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "zsh"]) == 2
    assert "batch-size-tuner[completion]" in capsys.readouterr().err
