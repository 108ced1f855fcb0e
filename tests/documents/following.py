"""Following a document: what a reader would do with its blocks, one after the other, in an empty directory.

A command is run as it stands, with the exceptions below. Of those that install something, run this very test, take many
minutes, or are run by another test it is checked that what they name exists. In place of a search in stages, which
takes a minute, a small grid makes a study of the same name, on which the reader's next commands run.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

from documents import ROOT, Block

WARM_PYTHON = Path(__file__).with_name("warm_python.py")
_SCRIPT = "script.py"
_SMALL_GRID = "--batch-sizes 32,128 --epochs 2 --seeds 2 --objective val_loss"
# Commands that another test runs, as the words that it hands to a process: a search takes many seconds.
_RUN_ELSEWHERE = {
    "batch-size tune digits": ("tests/tuning/test_command_line.py", '"tune", "digits"'),
    "batch-size train digits-tune": ("tests/tuning/test_train_command.py", '"train", "mine-grid"'),
    "batch-size pick": ("tests/tuning/test_command_line.py", 'batch_size(workplace, "pick", "--json")'),
    "batch-size report": ("tests/tuning/test_command_line.py", 'batch_size(workplace, "report"'),
    "batch-size ui": ("tests/tuning/test_canary.py", '(0, "ui")'),
    "batch-size probe digits": ("tests/tuning/machine/test_probe_command.py", '"probe", "digits"'),
    "batch-size grid digits --batch-sizes 8,32,128,512": (
        "tests/tuning/test_command_line.py",
        '"grid", "digits", "--batch-sizes", "8,32,128,512"',
    ),
}

# Commands that need nothing before them and take long: followed in the README, not in other documents again.
_ALSO_IN_README = ("batch-size probe digits --inference --latency 20ms",)


class Workplace:
    """A directory with `batch-size` and `python` on the path of its commands.

    Args:
        directory: Where the commands run.
        programs: An empty directory for the two programs.
        warm: The address at which `warm_python` listens.
    """

    def __init__(self, directory: Path, programs: Path, warm: Path) -> None:
        self._directory = directory
        python = f'"{sys.executable}" -I -S "{WARM_PYTHON}" "{warm}"'
        for name, module in (("batch-size", "-m tuning.cli "), ("python", "")):
            (programs / name).write_text(f'#!/bin/sh\nexec {python} {module}"$@"\n')
            (programs / name).chmod(0o755)
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        self._cold = f'"{sys.executable}" -m tuning.cli'
        self._environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}

    def follow(self, block: Block) -> None:
        """Do what a block says.

        Raises:
            AssertionError: If a command fails, or names what does not exist.
        """
        if block.language == "python":
            (self._directory / (block.file or _SCRIPT)).write_text(block.text)
            if block.file is None:
                self._run(f"python {_SCRIPT}")
        elif block.language == "console":
            for command in block.commands:
                if block.document.name != "README.md" and command in _ALSO_IN_README:
                    assert f"$ {command}" in (ROOT / "README.md").read_text()
                else:
                    self._do(command)

    def _do(self, command: str) -> None:
        words = command.partition("#")[0].strip()
        if words in _RUN_ELSEWHERE:
            test, told = _RUN_ELSEWHERE[words]
            assert told in (ROOT / test).read_text(), words
        elif command.startswith("make "):
            assert_makes(command.split()[1])
        elif command.startswith("pip install "):
            assert_installs(command)
        elif found := re.match(r"python (?:-m pytest )?((?:benchmarks|tests)/\S+)", command):
            assert (ROOT / found[1]).exists(), command
        elif command.startswith("batch-size ui"):
            self._serve(command)
        else:
            self._run(in_place_of(words))

    def _run(self, command: str) -> None:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    def _serve(self, command: str) -> None:
        """Start the server, wait for the address that it prints, end it with Ctrl-C."""
        with subprocess.Popen(
            ["bash", "-c", f"exec {command.replace('batch-size', self._cold, 1)}"],  # which a signal is to end
            cwd=self._directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as server:
            assert server.stdout is not None
            address = server.stdout.readline()
            server.send_signal(signal.SIGINT)
        assert address.startswith("http://127.0.0.1"), address
        assert server.returncode == 0, command


def in_place_of(command: str) -> str:
    """What is run in a command's place: for a search in stages a small grid, which makes a study of the same name."""
    found = re.fullmatch(r"batch-size tune (\S+)(.*)", command)
    if found is None:
        return command
    name = found[1].rpartition(":")[2]
    return f"batch-size grid {found[1]} --study {name}-tune {_SMALL_GRID}{found[2]}"  # of two, the last one counts


def assert_makes(target: str) -> None:
    """The Makefile has the target."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def assert_installs(command: str) -> None:
    """The extras that a `pip install` names exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for named in re.findall(r"\[([\w,]+)\]", command):
        assert set(named.split(",")) <= extras.keys(), command
