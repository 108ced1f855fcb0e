"""Provenance: with what a search was started, for those who want to repeat it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path

_PACKAGES = ("batch-size-tuner", "tensorflow", "keras", "keras-tuner", "optuna", "mlflow", "numpy")
_COMMANDS = ("batch-size", "cli.py")


def provenance() -> dict[str, str]:
    """The command and the versions, as settings of a study: text without any path of this machine's programs.

    `command` is empty where the search was started from a notebook or a script of the user's; `versions` has a line
    for each of the machine, Python and the packages that decide what is computed.
    """
    name = Path(sys.argv[0]).name
    return {
        "command": f"batch-size {shlex.join(sys.argv[1:])}" if name in _COMMANDS else "",
        "versions": "\n".join(_versions()),
    }


def _versions() -> list[str]:
    found = [f"machine {platform.system()} {platform.machine()}, {os.cpu_count()} cores"]
    found.append(f"python {platform.python_version()}")
    for package in _PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:  # run from a checkout, or a variant such as tensorflow-cpu
            continue
    return found
