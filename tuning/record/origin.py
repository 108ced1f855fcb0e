"""Where a run comes from, in MLflow's own fields: the user, the program and the commit."""

from __future__ import annotations

import functools
import getpass
import subprocess
import sys
from pathlib import Path

USER, SOURCE, SOURCE_TYPE = "mlflow.user", "mlflow.source.name", "mlflow.source.type"
COMMIT = "mlflow.source.git.commit"

_GIT_S = 5.0


@functools.cache
def origin_tags(command: str) -> dict[str, str]:
    """Return the tags that MLflow shows as user, source and version of a run.

    MLflow's client writes them only into the runs that its own functions start.

    Args:
        command: What was called, such as "batch-size grid digits"; empty for a script or a notebook.
    """
    tags = {SOURCE: command or Path(sys.argv[0] or "python").name, SOURCE_TYPE: "LOCAL"}
    found = {USER: _user(), COMMIT: _commit()}
    return tags | {name: value for name, value in found.items() if value}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return ""


def _commit() -> str:
    """Return the commit of the repository that the working directory lies in; empty where there is none."""
    try:
        told = subprocess.run(
            ["git", "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, timeout=_GIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.strip() if told.returncode == 0 else ""
