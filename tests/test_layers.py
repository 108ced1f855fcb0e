"""Imports go down the layers only, and TensorFlow stays where it belongs. Modules are read, not imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    "tuning.trial": 0,
    "tuning.messages": 0,
    "tuning.stats": 1,
    "tuning.loops": 1,
    "tuning.worker": 2,
    "tuning.run": 2,
    "tuning.proposals": 2,
    "tuning.record": 2,
    "tuning.study": 3,
    "tuning.machine": 3,
    "tuning.search": 3,
    "tuning.show": 3,
    "tuning.worker_built_tuner": 3,
    "tuning.answering_tuner": 3,
    "tuning.base_tuner": 3,
    "tuning.staged_search": 3,
    "tuning.tuners": 3,
    "tuning.commands": 4,
    "tuning.cli": 4,
}
HEAVY = ("tensorflow", "keras", "keras_tuner")
MAY_LOAD_TENSORFLOW = (
    "tuning.loops",
    "tuning.worker",
    "tuning.study.oracle",
    "tuning.search.preparation",
    "tuning.answering_tuner",
    "tuning.base_tuner",
    "tuning.worker_built_tuner",
    "tuning.staged_search",
    "tuning.tuners",
    "search_spaces",
)
MODULES = sorted(path for package in ("tuning", "search_spaces") for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def layer_of(module: str) -> int | None:
    """The layer of a module by its longest known prefix; None for what is not ours."""
    known = [prefix for prefix in LAYERS if module == prefix or module.startswith(prefix + ".")]
    return LAYERS[max(known, key=len)] if known else None


def imports_of(path: Path, *, at_top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if at_top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_of_tuning_has_a_layer(path: Path) -> None:
    module = name_of(path)
    assert module == "tuning" or module.startswith("search_spaces") or layer_of(module) is not None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_the_layers(path: Path) -> None:
    own = layer_of(name_of(path))
    for imported in imports_of(path):
        if name_of(path).startswith("search_spaces"):
            assert not imported.startswith("tuning"), imported
        elif own is not None and layer_of(imported) is not None:
            assert layer_of(imported) <= own, imported


def test_stats_and_loops_do_not_know_each_other() -> None:
    for first, second in (("stats", "loops"), ("loops", "stats")):
        for path in (ROOT / "tuning" / first).rglob("*.py"):
            assert not any(name.startswith(f"tuning.{second}") for name in imports_of(path)), path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_tensorflow_is_loaded_only_where_models_are_built_or_tuned(path: Path) -> None:
    module = name_of(path)
    if not module.startswith(MAY_LOAD_TENSORFLOW):
        heavy = [name for name in imports_of(path) if name.split(".")[0] in HEAVY]
        assert not heavy, heavy


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path).startswith("search_spaces")], ids=name_of)
def test_search_spaces_load_tensorflow_only_inside_functions(path: Path) -> None:
    assert not any(name.split(".")[0] in HEAVY for name in imports_of(path, at_top_only=True))


def test_every_test_file_has_a_name_of_its_own() -> None:
    """Test folders are no packages, so that pytest imports two files of one name as the same module."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
