"""Packages that a workload file imports are loaded when something of them is used, and not before."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest

from search_spaces.deferred import Deferred, deferring
from tuning.run.pickler import dumps

FILE = """
import heavy
import heavy.models
import heavy as h
from heavy import layers

def build():
    return heavy.VALUE, layers.Dense(), heavy.models.NAME
"""


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Which modules of a package with three of them are really loaded."""
    package = tmp_path / "heavy"
    package.mkdir()
    note = "import builtins; builtins.heavy_loaded.add(__name__)\n"
    (package / "__init__.py").write_text(f"{note}VALUE, __version__ = 7, '1.2'\n")
    (package / "layers.py").write_text(f"{note}class Dense:\n    pass\n")
    (package / "models.py").write_text(f"{note}NAME = 'models'\n")
    found: set[str] = set()
    monkeypatch.setattr("builtins.heavy_loaded", found, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield found
    for name in [name for name in sys.modules if name.partition(".")[0] == "heavy"]:
        del sys.modules[name]


def run(code: str) -> Any:
    module = ModuleType("a_workload")
    with deferring(("heavy", "not_installed")):
        exec(code, vars(module))
    return module


def test_a_file_that_imports_a_package_loads_nothing_of_it_until_it_is_used(loaded: set[str]) -> None:
    module = run(FILE)
    assert loaded == set()
    assert not [name for name in sys.modules if name.partition(".")[0] == "heavy"]
    assert isinstance(module.layers, Deferred)
    value, dense, name = module.build()
    assert (value, type(dense).__name__, name) == (7, "Dense", "models")
    assert loaded == {"heavy", "heavy.layers", "heavy.models"}
    assert not isinstance(sys.modules["heavy"], Deferred)


@pytest.mark.parametrize(
    "code",
    [
        "from heavy.layers import Dense",
        "import heavy\nclass Mine(heavy.layers.Dense): pass",
        "import heavy\nheavy.VALUE",
    ],
)
def test_what_is_used_at_once_is_loaded_at_once(code: str, loaded: set[str]) -> None:
    run(code)
    assert "heavy" in loaded
    assert not isinstance(sys.modules["heavy"], Deferred)


def test_names_that_are_not_there_are_told_as_ever(loaded: set[str]) -> None:
    with pytest.raises(ImportError, match="cannot import name 'Dens'"):
        run("from heavy.layers import Dens")
    with pytest.raises(ModuleNotFoundError, match="not_installed"):
        run("import not_installed")
    assert loaded


def test_the_version_is_the_package_s_and_other_questions_of_python_load_nothing(loaded: set[str]) -> None:
    module = run("import heavy")
    assert not hasattr(module.heavy, "__wrapped__")
    assert loaded == set()
    assert module.heavy.__version__ == "1.2"


def test_a_package_that_is_loaded_already_is_left_alone(loaded: set[str]) -> None:
    import heavy  # type: ignore[import-not-found]  # of the fixture

    assert run("import heavy").heavy is heavy
    assert loaded == {"heavy"}


def test_a_function_travels_with_the_name_of_the_package(loaded: set[str]) -> None:
    module = run(FILE)
    sys.modules["a_workload"] = module
    cloudpickle.register_pickle_by_value(module)
    try:
        content = dumps(module.build)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
        del sys.modules["a_workload"]
    assert loaded == set()
    assert pickle.loads(content)()[0] == 7
    assert isinstance(module.heavy, Deferred)


def test_a_command_reads_a_workload_that_imports_keras_without_loading_it(tmp_path: Path) -> None:
    (tmp_path / "w.py").write_text(
        "import keras\nfrom keras import layers\nimport tensorflow as tf\ndef build(): pass\n"
    )
    code = (
        "import argparse, sys; from tuning.commands.source import read_workload; "
        "names = ('validation_split', 'image_size', 'data', 'label'); "
        "asked = argparse.Namespace(workload='w.py:build', **dict.fromkeys(names)); "
        "print(read_workload(asked).name, {'tensorflow', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "build set()\n"
