"""The ranges of versions are those of the sets that `make matrix` tries, and its table keeps a line for each set."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]

_spec = importlib.util.spec_from_file_location("matrix", ROOT / "versions" / "matrix.py")
assert _spec is not None
assert _spec.loader is not None
matrix = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(matrix)


def pins(name: str) -> dict[str, str]:
    """The versions that a set names."""
    text = (ROOT / "versions" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([\w-]+)==(\S+)$", text, re.MULTILINE))


@pytest.mark.parametrize("library", [*matrix.LIBRARIES, "keras-tuner"])
def test_a_range_begins_with_the_oldest_set_and_holds_the_others(library: str) -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (asked,) = (wish for text in dependencies if (wish := Requirement(text)).name == library)
    (low,) = (clause.version for clause in asked.specifier if clause.operator == ">=")
    assert pins("oldest")[library].startswith(low)
    assert all(asked.specifier.contains(pins(name)[library]) for name in matrix.SETS)


def test_each_set_names_its_python() -> None:
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    for name in matrix.SETS:
        version = matrix.python_of(ROOT / "versions" / f"{name}.txt")
        assert f"Programming Language :: Python :: {version}" in classifiers


def test_a_line_of_the_table_is_put_in_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "versions.md"
    page.write_text("| set | x |\n| oldest | 1 |\n| newest | 2 |\n")
    monkeypatch.setattr(matrix, "PAGE", page)
    matrix.write("| newest | 3 |")
    assert page.read_text() == "| set | x |\n| oldest | 1 |\n| newest | 3 |\n"


def test_a_set_whose_python_is_missing_is_named_as_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.txt").write_text("# Python 2.4\nkeras==3.8.0\n")
    monkeypatch.setattr(matrix, "HERE", tmp_path)
    assert matrix.line_of("old").startswith("| old | not tried: no Python 2.4 on this machine |")
