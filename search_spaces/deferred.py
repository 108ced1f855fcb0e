"""Deferred: a package that a workload file imports, and that this process loads only if something of it is used.

A search needs the file's names and data; its model is built by a worker. Importing Keras takes seconds of processor
time and a third of a gigabyte, in the very seconds in which the worker imports it, too.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_MODULES = frozenset(
    (
        *("activations", "applications", "backend", "callbacks", "config", "constraints", "data", "datasets"),
        *("initializers", "keras", "layers", "losses", "metrics", "mixed_precision", "models", "ops", "optimizers"),
        *("preprocessing", "random", "regularizers", "saving", "utils"),
    )
)
"""What `from keras import layers`, or the same of TensorFlow, takes for a module without asking the package."""


class Deferred(ModuleType):
    """Stands for a module until an attribute of it is asked for, which is then the real module's.

    Whoever imported it keeps it; it hands on every later question, and is pickled as an import of the real one.

    Args:
        name: The module's.
        load: Returns the real module of a name.
    """

    def __init__(self, name: str, load: Callable[[str], ModuleType]) -> None:
        super().__init__(name)
        vars(self)["_load"] = load

    def __getattr__(self, name: str) -> Any:
        module, load = vars(self)["__name__"], vars(self)["_load"]
        if name.startswith("__") and name != "__version__":  # Python's own questions to every module
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if name in _MODULES and sys.modules.get(module) is self:
            return importlib.import_module(f"{module}.{name}")
        return getattr(load(module), name)

    def __reduce__(self) -> Any:
        return real_module, (vars(self)["__name__"], *_below(self))


def real_module(name: str, *further: str) -> ModuleType:
    """Return a module, imported, or an attribute of a package that is one, such as `tensorflow.data`.

    Args:
        name: Its name.
        further: Modules below it that are to be imported, too.

    Raises:
        ModuleNotFoundError: If there is none.
    """
    for each in further:
        real_module(each)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        parent, _, last = name.rpartition(".")
        found = getattr(real_module(parent), last, None) if parent else None
        if not isinstance(found, ModuleType):
            raise
        return found


def _below(module: Deferred) -> list[str]:
    """Return the names of the modules that were imported below one."""
    found = [each for each in vars(module).values() if isinstance(each, Deferred)]
    return [name for each in found for name in (vars(each)["__name__"], *_below(each))]


class _Finder:
    """Finds deferred modules in the place of packages that are installed.

    Args:
        packages: Their names.
        around: What surrounds the loading of a real module.
    """

    def __init__(self, packages: Sequence[str], around: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._packages = [name for name in packages if name not in sys.modules and PathFinder.find_spec(name)]
        self._around = around

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002  (Python's)
        """Return that of a deferred module; None for any other."""
        own = name.partition(".")[0] in self._packages
        return ModuleSpec(name, self, is_package=True) if own else None  # type: ignore[arg-type]  # it is a loader

    def create_module(self, spec: ModuleSpec) -> Deferred:
        """Return the deferred module."""
        return Deferred(spec.name, self._load)

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing."""

    def stop(self) -> None:
        """Have whoever imports the packages from now on get the real ones."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, module in list(sys.modules.items()):
            if isinstance(module, Deferred):
                del sys.modules[name]

    def _load(self, name: str) -> ModuleType:
        self.stop()
        with self._around():
            return real_module(name)


@contextlib.contextmanager
def deferring(
    packages: Sequence[str], around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
) -> Iterator[None]:
    """Defer imports of packages that are not imported yet.

    Args:
        packages: Their names.
        around: What surrounds the loading of a real module, now or later, such as what keeps its messages away.
    """
    finder = _Finder(packages, around)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        finder.stop()
