"""What an answer needs is loaded while trials train: not before the first, nor while anything is timed."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tuning.search import early_imports
from tuning.search.early_imports import EarlyImports


def test_it_loads_once_from_its_beginning_on_and_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    go = threading.Event()

    def load(name: str) -> None:
        go.wait()
        loaded.append(name)

    monkeypatch.setattr(early_imports.importlib, "import_module", load)
    loading = EarlyImports()
    loading.wait()  # nothing has begun
    loading.begin()
    loading.begin()
    assert loaded == []
    go.set()
    loading.wait()
    assert loaded == list(early_imports._NEEDED)


def test_a_search_starts_without_what_only_its_answer_needs() -> None:
    code = (
        "import sys, tuning.search.search, tuning.search.methods; "
        "print(sorted({'matplotlib', 'scipy.stats', 'scipy.optimize'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
