"""What is owed lies beside the study for its user alone, bounded, and is read as plain JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tuning.messages import Measurement
from tuning.record import owed
from tuning.record.documents import MeasurementDocument, RecommendationDocument
from tuning.record.owed import OwedFolder

MEMORY = MeasurementDocument(Measurement("memory", {"loop": "keras"}, {"limit": 1.0}, (("peak", 2.0, 8),)))
ANSWER = RecommendationDocument("## 8", {"report.html": "<p>8", "plot.png": b"\x89PNG"})


@pytest.fixture
def folder(tmp_path: Path) -> OwedFolder:
    return OwedFolder(tmp_path / "study" / "outbox")


def test_nothing_is_owed_before_a_study_has_begun_and_after_everything_was_cleared(folder: OwedFolder) -> None:
    assert (folder.study(), list(folder.documents())) == (None, [])
    folder.begin("http://host:5000", {"objective": "val_accuracy"})
    folder.keep(MEMORY)
    assert folder.study() == ("http://host:5000", {"objective": "val_accuracy"})
    folder.clear()
    assert (folder.study(), list(folder.documents())) == (None, [])
    assert not folder.directory.exists()


def test_documents_are_read_back_as_they_were(folder: OwedFolder) -> None:
    files = [folder.keep(MEMORY), folder.keep(ANSWER)]
    assert list(folder.documents()) == list(zip(files, [MEMORY, ANSWER], strict=True))


def test_a_later_document_takes_the_place_of_an_earlier_one_of_its_name_alone(folder: OwedFolder) -> None:
    later = MeasurementDocument(Measurement("memory", reason="it does not fit"))
    other = MeasurementDocument(Measurement("memory-again"))
    for document in (MEMORY, other, later):
        folder.keep(document)
    assert [document for _, document in folder.documents()] == [other, later]


def test_only_the_user_can_read_it_and_no_address_has_a_password(folder: OwedFolder) -> None:
    folder.begin("http://me:canary@host:5000", {"storage": "postgresql://me:canary@host/db", "objective": "loss"})
    folder.keep(ANSWER)
    assert folder.directory.stat().st_mode & 0o777 == 0o700
    files = list(folder.directory.iterdir())
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not [path for path in files if "canary" in path.read_text()]
    assert folder.study() == (
        "http://me:***@host:5000",
        {"storage": "postgresql://me:***@host/db", "objective": "loss"},
    )


def test_a_document_for_which_there_is_no_room_is_not_kept(folder: OwedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed, "MOST_BYTES", 1000)
    assert folder.keep(MEMORY) is not None
    assert folder.keep(RecommendationDocument("8" * 900, {})) is None
    assert [document for _, document in folder.documents()] == [MEMORY]
    assert folder.keep(MEMORY) is not None  # in its own place


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"measurement": {"name": "memory"}})])
def test_what_cannot_be_read_is_left_out(folder: OwedFolder, text: str) -> None:
    kept = folder.keep(MEMORY)
    (folder.directory / "1-memory.json").write_text(text)
    (folder.directory / "study.json").write_text(text)
    assert list(folder.documents()) == [(kept, MEMORY)]
    assert folder.study() is None


def test_a_full_disk_leaves_no_draft(folder: OwedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    folder.keep(MEMORY)
    monkeypatch.setattr(owed.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        folder.keep(ANSWER)
    assert len(list(folder.directory.iterdir())) == 1
