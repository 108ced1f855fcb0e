"""The notebooks run on a fresh machine, and what is stored of them was run and names no machine."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONG = ("02", "03", "04")
LARGEST_BYTES = 300_000
# Folders that a path of somebody's machine begins with.
FOLDERS = ("home", "root", "tmp", "Users", "work", "var", "opt", "mnt", "usr")
MACHINE = re.compile(rf"(?<![\w.])/({'|'.join(FOLDERS)})/|[A-Z]:\\\\")

sys.path.insert(0, str(ROOT / "notebooks"))


def cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def test_there_are_five() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_was_executed_in_order_without_errors_and_is_small(path: Path) -> None:
    assert [cell["execution_count"] for cell in cells(path)] == list(range(1, len(cells(path)) + 1))
    kinds = {output["output_type"] for cell in cells(path) for output in cell["outputs"]}
    assert kinds <= {"stream", "execute_result", "display_data"}
    assert "execute_result" in kinds
    assert path.stat().st_size < LARGEST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_names_no_path_of_a_machine(path: Path) -> None:
    text = re.sub(r"base64,[^\"\\]*|\"image/png\": \"[^\"]*\"", "", path.read_text())
    assert not MACHINE.search(text)


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("before", ["file://", '"sqlite:///', "in "])
def test_a_path_of_a_machine_would_be_found(before: str, folder: str) -> None:
    assert MACHINE.search(f"{before}/{folder}/mlflow.db")


def test_other_slashes_are_no_paths_of_a_machine() -> None:
    assert not MACHINE.search("../docs/images/ui_charts.png and t0/c")


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.long] if path.stem[:2] in LONG else []) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs_in_an_empty_folder_and_leaves_the_repository_alone(
    path: Path, tmp_path: Path, mlflow_store: Callable[[Path], str]
) -> None:
    from store import execute

    if path != NOTEBOOKS[0]:  # the first one makes its store, as on a fresh machine; that takes seconds
        mlflow_store(tmp_path)
    before = {one: one.stat().st_mtime_ns for one in (ROOT / "notebooks").iterdir()}
    done = execute(path, tmp_path)
    counts = [cell.execution_count for cell in done.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    experiments = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}").search_experiments()
    assert {experiment.name for experiment in experiments} > {"Default"}
    after = {one: one.stat().st_mtime_ns for one in (ROOT / "notebooks").iterdir() if one.name != "__pycache__"}
    assert after == {one: when for one, when in before.items() if one.name != "__pycache__"}
