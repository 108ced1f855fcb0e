"""A journal that was torn is mended, and a study cut anywhere goes on to the same end."""

from __future__ import annotations

from pathlib import Path

import pytest
from journal_replay import JOURNAL, badly_mended, faults_of_going_on, line_ends, planned, whole_journal

from tuning.study.journal import mend

WHOLE = b'{"op_code": 0, "a": 1}\n{"op_code": 4, "b": "x"}\n'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (WHOLE, WHOLE),
        (b"", b""),
        (WHOLE + b'{"op_code": 5, "c', WHOLE),
        (WHOLE + b'{"op_code": 5, "c\n', WHOLE),
        (WHOLE[:-1], WHOLE),
        (b'{"op_code": 5, "c' + WHOLE, WHOLE),
        (WHOLE + b"\0\0\0\0", WHOLE),
    ],
    ids=[
        "whole",
        "empty",
        "torn",
        "torn with an end",
        "without its end",
        "glued to a torn one",
        "zeros of a power cut",
    ],
)
def test_torn_records_are_taken_out(content: bytes, expected: bytes, tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    journal.write_bytes(content)
    assert mend(journal) == (content != expected)
    assert journal.read_bytes() == expected
    torn = tmp_path / "study.journal.torn"
    assert (torn.read_bytes() == content) if content != expected else not torn.exists()


def test_a_journal_that_is_not_there_needs_no_mending(tmp_path: Path) -> None:
    assert not mend(tmp_path / "study.journal")


def test_a_lock_that_a_killed_driver_has_left_holds_nobody_up(tmp_path: Path) -> None:
    whole_journal("grid", tmp_path)
    lock = tmp_path / JOURNAL.with_suffix(".journal.lock")
    lock.symlink_to(JOURNAL.name)
    assert len(planned("grid", tmp_path)) == 6
    assert not lock.is_symlink()


def test_a_record_that_is_torn_anywhere_is_cut_off_and_nothing_else(tmp_path: Path) -> None:
    journal = whole_journal("grid", tmp_path)
    assert list(badly_mended(journal, tmp_path, step=7)) == []


@pytest.mark.parametrize(("kind", "step"), [("grid", 2), ("bayes", 7), ("tune", 35)])
def test_a_study_that_was_cut_after_any_record_goes_on_to_every_planned_trial_once(
    kind: str, step: int, tmp_path: Path
) -> None:
    journal = whole_journal(kind, tmp_path)
    whole = planned(kind, tmp_path)
    for cut in line_ends(journal)[::step]:
        assert faults_of_going_on(kind, journal[:cut], tmp_path / str(cut), whole) == [], cut
