"""OwedFolder: the outbox's part on disk, beside a study: what is owed, and what the study cannot tell again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tuning.passwords import without_passwords
from tuning.record.documents import Document, document_from
from tuning.record.layout import clean_name

FOLDER = "outbox"
"""The folder's name in the directory of a study."""
MOST_BYTES = 64 * 2**20
"""The most that the folder holds; a document beyond it is kept in memory alone."""

_STUDY = "study.json"
_STARTED_OVER = "started-over"


class OwedFolder:
    """Says on disk, while a study is recorded, that MLflow may lack some of it.

    Trials are not in it: whatever MLflow lacks of them is told by the study, which is written before anything is shown.
    What the study does not hold as MLflow shows it, measurements and the recommendation, lies here as one JSON file
    each, the latest of its name, until it has been delivered. Only the user can read the folder, and no address in it
    has a password.

    Args:
        directory: The folder, which need not exist.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def begin(self, tracking_uri: str, settings: Mapping[str, str]) -> None:
        """Note where a study is recorded, and what people are shown of its settings.

        Raises:
            OSError: If it cannot be written.
        """
        shown = {name: without_passwords(value) for name, value in settings.items()}
        noted = {"tracking_uri": without_passwords(tracking_uri), "settings": shown}
        self._write(_STUDY, json.dumps(noted))

    def study(self) -> tuple[str, dict[str, str]] | None:
        """Return the address of the store, without a password, and the settings; None if nothing is owed."""
        noted = _read(self.directory / _STUDY)
        if noted is None or not isinstance(noted.get("settings"), dict):
            return None
        return str(noted.get("tracking_uri", "")), {str(key): str(value) for key, value in noted["settings"].items()}

    def note_start_over(self) -> None:
        """Note that what the store holds under the study's name is of an earlier search, to be set aside first.

        Raises:
            OSError: If it cannot be written.
        """
        self._write(_STARTED_OVER, "")

    @property
    def has_started_over(self) -> bool:
        """Whether what the store holds under the study's name is still to be set aside."""
        return (self.directory / _STARTED_OVER).exists()

    def has_set_aside(self) -> None:
        """Forget that something was to be set aside."""
        (self.directory / _STARTED_OVER).unlink(missing_ok=True)

    def keep(self, document: Document) -> Path | None:
        """Keep a document in place of an earlier one of its name.

        Returns:
            Its file, to be removed once it has been delivered; None if there is no room for it.

        Raises:
            OSError: If it cannot be written.
        """
        ending = f"-{clean_name(document.name).replace('/', '_')}.json"
        text = json.dumps(document.to_json(), default=float)
        earlier = [path for path in self._files() if path.name.lstrip("0123456789") == ending]
        others = sum(path.stat().st_size for path in self._files() if path not in earlier)
        kept = None
        if others + len(text) <= MOST_BYTES:
            kept = self._write(f"{time.time_ns()}{ending}", text)
        for path in earlier:
            path.unlink(missing_ok=True)
        return kept

    def documents(self) -> Iterator[tuple[Path, Document]]:
        """Return each document with its file, the oldest first; what cannot be read is left out."""
        for path in sorted(self._files()):
            with contextlib.suppress(ValueError):
                yield path, document_from(_read(path) or {})

    def clear(self) -> None:
        """Remove everything, for nothing is owed any more."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _files(self) -> list[Path]:
        return [path for path in self.directory.glob("*.json") if path.name != _STUDY]

    def _write(self, name: str, text: str) -> Path:
        """Write a file whole or not at all."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=self.directory)  # of mode 600
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(draft, self.directory / name)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise
        return self.directory / name


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
