"""Benchmarks run rarely and long; what they import of this project is there all the same."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

BENCHMARKS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_exists(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in {"tuning", "search_spaces"}:
            module = importlib.import_module(str(node.module))
            names = (name.name for name in node.names if not hasattr(module, name.name))
            missing = [name for name in names if not _is_module(f"{module.__name__}.{name}")]
            assert not missing, f"{path.name} imports {missing} from {node.module}"


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # what it would be part of is no package
        return False
