"""Cuts a real journal where a crash may cut it, has the search go on, and says what is wrong with what it became."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import optuna
from scripted_searches import arguments, tuner, workers

from tuning.study.journal import mend
from tuning.study.records import Key
from tuning.study.storage import journal_of
from tuning.trial import Status, Trial

JOURNAL = Path("s") / "study.journal"


def whole_journal(kind: str, directory: Path) -> bytes:
    """Return what a search leaves that nothing disturbs."""
    tuner(kind, directory).run(arguments(), workers())
    return (directory / JOURNAL).read_bytes()


def line_ends(journal: bytes) -> list[int]:
    """Return every length of the journal at which a record has just ended; 0 is one."""
    return [0, *(i + 1 for i, byte in enumerate(journal) if byte == ord("\n"))]


def badly_mended(journal: bytes, directory: Path, step: int = 1) -> Iterator[int]:
    """Yield every length within a record to which a journal may be cut and that is not mended to the records before.

    Mending looks at one line at a time, so that only the last two lines are laid down.

    Args:
        journal: A whole one.
        directory: Where copies are laid down.
        step: Of the bytes of a record only every so many-th is tried.
    """
    path = directory / "torn.journal"
    ends = line_ends(journal)
    for before, begin, end in zip([0, *ends], ends, ends[1:], strict=False):
        for cut in range(begin + 1, end - 1, step):
            path.write_bytes(journal[before:cut])
            mend(path)
            if path.read_bytes() != journal[before:begin]:
                yield cut


def planned(kind: str, directory: Path) -> set[Key]:
    """Return the trials of a search that nothing has disturbed, from its journal."""
    return {trial.key for trial in _records(kind, directory)}


def faults_of_going_on(kind: str, journal: bytes, directory: Path, whole: set[Key]) -> list[str]:
    """Go on, twice, from what is left of a journal; say which trials are missing, doubled or told otherwise to Optuna.

    Args:
        kind: Of the search.
        journal: What is left.
        directory: Empty or absent.
        whole: The trials that are to be there at the end, each once.
    """
    cut = directory / "cut"
    (cut / JOURNAL).parent.mkdir(parents=True)
    (cut / JOURNAL).write_bytes(journal)
    faults: list[str] = []
    for _ in range(2):
        settled = [trial for trial in _records(kind, cut) if trial.is_settled]
        keys = [trial.key for trial in settled]
        if len(set(keys)) != len(keys):
            faults.append("a trial was run twice")
        if len(keys) != len(whole) if kind == "bayes" else set(keys) != whole:  # its proposals may be others
            faults.append(f"{len(keys)} trials instead of {len(whole)}")
        faults += _told_otherwise(settled, cut / JOURNAL)
    if not all(json.loads(line) for line in (cut / JOURNAL).read_text().splitlines()):
        faults.append("a line holds no record")
    return faults


def _records(kind: str, directory: Path) -> list[Trial]:
    searched = tuner(kind, directory)
    searched.run(arguments(), workers())
    return list(searched.oracle.study.records)


def _told_otherwise(settled: list[Trial], journal: Path) -> Iterator[str]:
    """Yield the trials that Optuna's own record tells another end of."""
    study = optuna.load_study(study_name="s", storage=journal_of(journal.parent))
    states = {f"{trial.number:04d}": trial.state.name for trial in study.trials}
    for trial in settled:
        ours = "COMPLETE" if trial.status is Status.COMPLETED else "PRUNED"
        if states[trial.trial_id] != ours:
            yield f"{trial.trial_id} is {trial.status}, and {states[trial.trial_id]} for Optuna"
