"""Imports go down the layers only, and TensorFlow stays where it belongs. Modules are read, not imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    "tuning.full_disk",
    "tuning.passwords",
    "tuning.interrupts",
    "tuning.objective",
    "tuning.instructions",
    "tuning.trial",
    "tuning.noise_messages",
    "tuning.messages",
    "tuning.stats",
    "tuning.loops",
    "tuning.run",
    "tuning.worker",
    "tuning.proposals",
    "tuning.machine",
    "tuning.study",
    "tuning.plans",
    "tuning.record",
    "tuning.show",
    "tuning.search",
    "tuning.finished",
    "tuning.oracle",
    "tuning.built",
    "tuning.tuner",
    "tuning.tuners",
    "tuning.gpu_check",
    "tuning.commands",
    "tuning.cli",
)
"""The order of dependence: a room imports from itself and from those before it."""

HEAVY = ("tensorflow", "keras", "keras_tuner")
MAY_LOAD_TENSORFLOW = (
    "tuning.loops",
    "tuning.worker",
    "tuning.run.facts",
    "tuning.oracle",
    "tuning.built",
    "tuning.tuner",
    "tuning.gpu_check.models",
    "tuning.gpu_check.acts",
    "tuning.gpu_check.memory",
    "tuning.gpu_check.child",
    "search_spaces",
)
TENSORFLOW_FREE = ("tuning.loops.loop", "tuning.loops.state_file")
MODULES = sorted(path for package in ("tuning", "search_spaces") for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def place_of(module: str) -> int | None:
    """The place of a module's room in the order; None for what is not ours."""
    return next((i for i, room in enumerate(ORDER) if module == room or module.startswith(room + ".")), None)


def imports_of(path: Path, *, at_top_only: bool = False, for_types: bool = True) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    if not for_types:
        tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node))]
    for node in tree.body if at_top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_of_tuning_has_a_place(path: Path) -> None:
    module = name_of(path)
    assert module == "tuning" or module.startswith("search_spaces") or place_of(module) is not None


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_in_the_order(path: Path) -> None:
    own = place_of(name_of(path))
    for imported in imports_of(path):
        if name_of(path).startswith("search_spaces"):
            assert not imported.startswith("tuning"), imported
        elif own is not None and (place := place_of(imported)) is not None:
            assert place <= own, imported


def modules_imported_by(path: Path) -> Iterator[str]:
    """Modules of ours that a module imports, lazily or for types, also as `from package import module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_module_imports_itself_over_others_lazily_or_not() -> None:
    names = {name_of(path): path for path in MODULES if path.name != "__init__.py"}
    left = {name: {other for other in modules_imported_by(path) if other in names} for name, path in names.items()}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert left == {}


def test_statistics_and_loops_do_not_know_each_other_nor_pictures() -> None:
    for room, strangers in (("stats", ("tuning.loops", "tuning.show", "matplotlib")), ("loops", ("tuning.stats",))):
        for path in (ROOT / "tuning" / room).rglob("*.py"):
            assert not any(name.startswith(strangers) for name in imports_of(path)), path


def test_searches_tuners_and_plans_set_no_attribute_after_construction() -> None:
    rooms = ("tuning.search", "tuning.plans", "tuning.tuner", "tuning.tuners")
    for path in (path for path in MODULES if name_of(path).startswith(rooms)):
        for method in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)):
            if method.name != "__init__":
                assert not list(attributes_set_on_self(method)), f"{path}: {method.name}"


def attributes_set_on_self(method: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(method):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in (inner for each in targets if each is not None for inner in ast.walk(each)):
            is_on_self = isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self"
            if is_on_self and isinstance(target.ctx, ast.Store):
                yield target.attr


def test_the_direction_of_an_objective_is_passed_as_an_objective() -> None:
    signatures = [
        f"{name_of(path)}.{node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and "maximize" in {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    ]
    assert signatures == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_tensorflow_is_loaded_only_where_models_are_built_or_tuned(path: Path) -> None:
    module = name_of(path)
    if not module.startswith(MAY_LOAD_TENSORFLOW) or module in TENSORFLOW_FREE:
        heavy = [name for name in imports_of(path, for_types=False) if name.split(".")[0] in HEAVY]
        assert not heavy, heavy


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path).startswith("search_spaces")], ids=name_of)
def test_search_spaces_load_tensorflow_only_inside_functions(path: Path) -> None:
    assert not any(name.split(".")[0] in HEAVY for name in imports_of(path, at_top_only=True))


def test_every_test_file_has_a_name_of_its_own() -> None:
    """Test folders are no packages, so that pytest imports two files of one name as the same module."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))
