"""How far a reader walks to follow a search: calls into other files, and files, in the driver of a grid of one trial.

    python benchmarks/walk.py [--calls]

The worker is scripted and nothing is shown in MLflow, so that what is counted is the search alone, from the executor
to the answer. A call from one source file of this project into another is a change of file; that the callee returns,
or that a generator goes on, is none. Reading a property of a record is told apart: a reader need not follow it.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from search_spaces import BatchSize, Data
from tuning import GridSearch
from tuning.messages import Throughput
from tuning.record.tracker import NullTracker
from tuning.search.options import SearchArguments

ROOT = Path(__file__).parents[1]
PACKAGES = tuple(f"{ROOT / name}/" for name in ("tuning", "search_spaces"))
sys.path.append(str(ROOT / "tests"))  # the scripted executor


class Walk:
    """Counts what is called from other files, by caller and callee."""

    def __init__(self) -> None:
        self.calls = Counter[tuple[str, str]]()
        self.files: set[str] = set()
        self.n_properties = 0

    def follow(self, frame: FrameType, event: str, _: Any) -> None:
        """Take in an event; `sys.setprofile` calls this."""
        if event != "call" or not is_ours(frame) or goes_on(frame):
            return
        self.files.add(frame.f_code.co_filename)
        caller = frame.f_back
        while caller is not None and not is_ours(caller):
            caller = caller.f_back  # a library that calls back is no place to read
        if caller is None or caller.f_code.co_filename == frame.f_code.co_filename:
            return
        self.calls[place(caller), place(frame)] += 1
        self.n_properties += is_property(frame)


def is_ours(frame: FrameType) -> bool:
    """Return whether a function of this project runs."""
    return frame.f_code.co_filename.startswith(PACKAGES)


def goes_on(frame: FrameType) -> bool:
    """Return whether a generator is resumed, not called."""
    return bool(frame.f_code.co_flags & inspect.CO_GENERATOR) and frame.f_lasti > 0 and frame.f_lineno > 0


def is_property(frame: FrameType) -> bool:
    """Return whether the function is a property's."""
    held = inspect.getattr_static(frame.f_locals.get("self"), frame.f_code.co_name, None)
    return isinstance(held, property)


def place(frame: FrameType) -> str:
    """Return where a function stands."""
    return f"{Path(frame.f_code.co_filename).relative_to(ROOT)}:{frame.f_code.co_qualname}"


def throughput(request: Any) -> Throughput:
    """Answer how fast plain `fit` is, which the answer tells."""
    return Throughput(request.trial_id, request.batch_size, request.loop, 0.01)


def walk_a_grid(directory: Path) -> Walk:
    """Run a grid of one trial, and return what was walked."""
    from fakes import ScriptedExecutor

    x = np.zeros((64, 2), "float32")
    tuner = GridSearch(
        lambda: None, batch_size=BatchSize.of(8), seeds=1, directory=directory, tracker=NullTracker(), keep_models=0
    )
    arguments = SearchArguments(Data(x, x[:, 0], x, x[:, 0]), epochs=1, verbose=False)
    executor = ScriptedExecutor(lambda _: [0.5], probes=throughput)
    walk = Walk()
    sys.setprofile(walk.follow)
    try:
        tuner.run(arguments, executor)
    finally:
        sys.setprofile(None)
    return walk


def main() -> None:
    """Print the counts, and on request every call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", action="store_true", help="list the calls, the most frequent first")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        walk = walk_a_grid(Path(directory))
    if asked.calls:
        print(*(f"{count:4d} {a} -> {b}" for (a, b), count in walk.calls.most_common()), sep="\n")
    total = walk.calls.total()
    print(f"{total} changes of file (goal: at most 130), {walk.n_properties} of them to read a property of a record")
    print(f"{len(walk.files)} files (goal: at most 35)")


if __name__ == "__main__":
    main()
