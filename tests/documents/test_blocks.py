"""Every command and every piece of code in the documents runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from documents import DOCUMENTS, ROOT, Block, blocks_of
from following import WARM_PYTHON, Workplace

LONG = ("ci.md", "command_line.md", "from_keras_tuner.md")
FOLLOWED = [d for d in DOCUMENTS if any(block.language in ("console", "python") for block in blocks_of(d))]


@pytest.fixture(scope="module")
def warm() -> Iterator[Path]:
    """Where a Python listens that has imported everything already; the addresses of sockets must be short."""
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder, "socket")
        command = [sys.executable, str(WARM_PYTHON), str(address)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield address
            process.kill()


@pytest.fixture
def workplace(tmp_path: Path, mlflow_store: Callable[[Path], str], warm: Path) -> Workplace:
    """An empty directory but for a migrated MLflow store, whose first use would take seconds."""
    directory, programs = tmp_path / "reader", tmp_path / "programs"
    directory.mkdir()
    programs.mkdir()
    mlflow_store(directory)
    return Workplace(directory, programs, warm)


@pytest.mark.timeout(1800)  # searches, one after the other
@pytest.mark.parametrize(
    "document",
    [pytest.param(document, marks=[pytest.mark.long] if document.name in LONG else []) for document in FOLLOWED],
    ids=lambda document: str(document.relative_to(ROOT)),
)
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
