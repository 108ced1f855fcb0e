"""What a worker leaves out while it imports Keras and KerasTuner: packages that no training uses."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_WHEN_USED = frozenset(
    {
        "keras.wrappers",
        "keras._tf_keras.keras.wrappers",
        "keras.api.wrappers",
        "keras.api._tf_keras.keras.wrappers",
        "matplotlib.pyplot",
    }
)
"""Loaded when something of them is used: Keras's wrappers for scikit-learn, which import it and `scipy.stats`, and what
Keras draws with. The second pair of names is that of Keras before 3.12."""

_UNSEEN = ("sklearn", "scipy.optimize")
"""What KerasTuner takes if it is there, for its Bayesian tuner alone, which nobody runs within a trial."""


def import_keras() -> None:
    """Import Keras and KerasTuner in a worker, without what takes long and trains nothing.

    It takes a worker 1 s of 3.4 s of processor time less (keras 3.15.1, keras-tuner 1.4.8). What a build function
    imports by itself afterwards is all there.
    """
    with _loading_when_used(_WHEN_USED):
        importlib.import_module("keras")
    with _not_seen(_UNSEEN):
        importlib.import_module("keras_tuner")


class _Finder:
    """Finds some modules as Python does, but has them loaded when something of them is used.

    Args:
        names: The modules.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of one of the modules; None for any other."""
        spec = PathFinder.find_spec(name, path, target) if name in self._names else None
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


@contextlib.contextmanager
def _loading_when_used(names: frozenset[str]) -> Iterator[None]:
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextlib.contextmanager
def _not_seen(names: Sequence[str]) -> Iterator[None]:
    """Have imports of some modules fail as if they were not installed; what was imported before is left alone."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
