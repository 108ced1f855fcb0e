"""The file in which a training is kept where it ended: all its variables, and which training it was."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuning.trial import Trial

Bytes = npt.NDArray[np.uint8]

NOT_KEPT = "state_not_kept"
"""The setting of an outcome that tells why the state was not kept, although that was asked for."""

_TRAINING = "training"


def state_file(directory: Path, trial_id: str) -> Path:
    """Return where the state of a trial lies."""
    return directory / f"{trial_id}.state.npz"


def write_state(path: Path, trial: Trial, variables: Sequence[npt.NDArray[Any]]) -> None:
    """Write the variables of a training, whole or not at all.

    Args:
        path: From `state_file`.
        trial: The training, with the reports of all its epochs.
        variables: Of model and optimizer, in their order. They are kept as bytes, since NumPy's files know no bfloat16.
    """
    content = (np.frombuffer(value.tobytes(), np.uint8) for value in variables)
    arrays: dict[str, Any] = {f"{number:05d}": each for number, each in enumerate(content)}
    arrays[_TRAINING] = np.array(_told(trial))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial")
    with unfinished.open("wb") as file:
        np.savez(file, **arrays)
    unfinished.replace(path)


def holds_state(directory: Path, trial: Trial) -> bool:
    """Return whether the state in which a trial ended lies there, and not that of another trial of its name.

    Args:
        directory: Where states are kept.
        trial: With the reports of all its epochs.
    """
    try:
        with state_file(directory, trial.trial_id).open("rb") as opened, np.load(opened) as file:
            return str(file[_TRAINING]) == _told(trial)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False


def read_state(path: Path) -> list[Bytes]:
    """Return the bytes of every variable, in their order."""
    with np.load(path) as file:
        return [file[name] for name in sorted(set(file.files) - {_TRAINING})]


def forget_states(directory: Path) -> None:
    """Delete all states."""
    for path in directory.glob("*.state.npz"):
        path.unlink()


def _told(trial: Trial) -> str:
    """Return what tells a training from others: its setting, its seed, and what its last epoch measured."""
    last = trial.reports[-1] if trial.reports else None
    measured = None if last is None else [last.epoch, last.updates, dict(last.metrics)]
    return json.dumps([repr(trial.setting), trial.seed, measured], sort_keys=True)
