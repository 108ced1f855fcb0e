"""Every command and every piece of code in the documents runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from documents import DOCUMENTS, ROOT, Block, blocks_of
from following import Workplace

FOLLOWED = [d for d in DOCUMENTS if any(block.language in ("console", "python") for block in blocks_of(d))]


@pytest.fixture
def workplace(tmp_path: Path, mlflow_store: Callable[[Path], str]) -> Workplace:
    """An empty directory but for a migrated MLflow store, whose first use would take seconds."""
    directory, programs = tmp_path / "reader", tmp_path / "programs"
    directory.mkdir()
    programs.mkdir()
    mlflow_store(directory)
    return Workplace(directory, programs)


@pytest.mark.timeout(1800)  # searches, one after the other
@pytest.mark.parametrize("document", FOLLOWED, ids=lambda document: str(document.relative_to(ROOT)))
def test_a_document_can_be_followed(document: Path, workplace: Workplace) -> None:
    for block in blocks_of(document):
        workplace.follow(block)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("console", "$ batch-size grid no-such-workload\n"),
        ("console", "$ make no-such-target\n"),
        ("console", "$ pip install '.[no_such_extra]'\n"),
        ("console", "$ python benchmarks/no_such.py\n"),
        ("python", "import no_such_module\n"),
    ],
)
def test_what_does_not_work_is_noticed(workplace: Workplace, language: str, text: str) -> None:
    with pytest.raises(AssertionError, match=r"no[-_]such"):
        workplace.follow(Block(ROOT / "README.md", 1, language, text))


def test_a_named_file_is_written_and_not_run(workplace: Workplace) -> None:
    workplace.follow(Block(ROOT / "README.md", 1, "python", "# mine.py\nimport sys\n\nsys.exit(__name__ != 'mine')\n"))
    with pytest.raises(AssertionError, match=r"mine\.py"):
        workplace.follow(Block(ROOT / "README.md", 1, "console", "$ python mine.py\n"))
