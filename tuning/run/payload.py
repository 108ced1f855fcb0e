"""The user's model, callbacks and options as bytes that a worker can open without the files that they come from."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import cloudpickle

from search_spaces.workload import FILE_MODULE_PREFIX
from tuning.run.executor import WorkerSetup


def pickle_setup(setup: WorkerSetup) -> bytes:
    """Return the pickled `(hypermodel, callbacks, fit_options)` of a setup.

    What lives in the user's script, notebook or loose file, which a worker cannot import or would import under another
    name, travels by value. Packages are imported there.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith(FILE_MODULE_PREFIX):
            cloudpickle.register_pickle_by_value(module)
    for part in (setup.hypermodel, *setup.callbacks):
        _register_by_value(part)
    payload: bytes = cloudpickle.dumps((setup.hypermodel, list(setup.callbacks), dict(setup.fit_options)))
    return payload


def _register_by_value(part: Any) -> None:
    """Mark the loose top-level module of a part, such as one beside a notebook, to travel by value."""
    while isinstance(part, functools.partial):
        part = part.func
    name = part.__module__ if hasattr(part, "__qualname__") else type(part).__module__
    path = getattr(sys.modules.get(name), "__file__", None)
    if path and _is_loose(name, Path(path)):
        cloudpickle.register_pickle_by_value(sys.modules[name])


def _is_loose(name: str, path: Path) -> bool:
    """Return whether a module is neither part of a package nor installed with this Python."""
    own = name == "__main__" or name in sys.stdlib_module_names  # cloudpickle sees to the first by itself
    return not own and "." not in name and not path.is_relative_to(sys.prefix)
