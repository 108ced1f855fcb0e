"""A search whose trials run one per core against the same search with one worker of one thread: seconds and scores.

    python benchmarks/side_by_side.py                        # the grid of a small CNN on MNIST, about 2 minutes
    python benchmarks/side_by_side.py bayes -- --trials 12   # what follows -- goes to the search
    python benchmarks/side_by_side.py tune -- --batch-sizes 16,64,256

Told are the seconds from the start of the first trial to the end of the last one, how many trials overlapped another,
and of the trainings that both searches made how many have the same status and score, to the last bit. A grid and a
staged search make the same ones; what bayes proposes depends on what has ended by then. The loop is named, since
"auto" may choose another for a batch size by its timings. Images are MNIST (`../shared/data/mnist_60k_3k.npz`), or
scikit-learn's digits where that file is absent. The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend
from search_speed import ROOT, build_cnn, load_images

from search_spaces import Data, Workload

EXAMPLES, EPOCHS = 8192, 5
GRID = ("--batch-sizes", "4,16,64,256,1024,4096", "--seeds", "1")


def data() -> Data:
    """Return the images and their labels."""
    return Data(*load_images(EXAMPLES))


workload = Workload("cnn", build_cnn, data, epochs=EPOCHS)


def main() -> None:
    """Run both searches and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kind", nargs="?", choices=("grid", "bayes", "tune"), default="grid")
    parser.add_argument("rest", nargs="*", default=[], help="options of the search, after --")
    asked = parser.parse_args()
    options = asked.rest or (GRID if asked.kind == "grid" else ())
    beside = search(asked.kind, *options)
    alone = search(asked.kind, *options, "--workers", "1", "--threads", "1")
    for name, (wall, trials) in (("one per core", beside), ("one worker of one thread", alone)):
        told = f"{wall:7.1f} s, of that trials {phase(trials):7.1f} s"
        print(f"{name:26}{told}; {overlaps(trials)} of {len(trials)} overlap")
    print(f"trials {phase(alone[1]) / phase(beside[1]):.2f} times as fast")
    first, second = map(scores, (beside[1], alone[1]))
    shared = first.keys() & second.keys()
    equal = sum(first[key] == second[key] for key in shared)
    print(f"of {len(first)} and {len(second)} trainings {len(shared)} are the same; {equal} of these end equally")


def search(kind: str, *options: str) -> tuple[float, list[Any]]:
    """Return the seconds of a command in an empty directory, and the trials of its study."""
    command = [sys.executable, "-m", "tuning.cli", kind, f"{Path(__file__).resolve()}:workload", "--study", "s"]
    path = os.pathsep.join(filter(None, (str(ROOT), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as directory:
        begin = time.perf_counter()
        subprocess.run(
            [*command, "--loop", "device", "--quiet", *options],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
            check=True,
            capture_output=True,
        )
        wall = time.perf_counter() - begin
        journal = next(Path(directory).rglob("study.journal"))
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
        return wall, optuna.load_study(study_name="s", storage=storage).trials


def phase(trials: list[Any]) -> float:
    """Return the seconds from the first start to the last end."""
    return float((max(t.datetime_complete for t in trials) - min(t.datetime_start for t in trials)).total_seconds())


def overlaps(trials: list[Any]) -> int:
    """Return how many trials ran beside another."""
    found = set()
    for one, other in itertools.combinations(trials, 2):
        if one.datetime_start < other.datetime_complete and other.datetime_start < one.datetime_complete:
            found |= {one.number, other.number}
    return len(found)


def scores(trials: list[Any]) -> dict[tuple[Any, ...], tuple[str, float | None]]:
    """Return how each training ended, by its values, its seed and its stage."""
    return {
        (*sorted(trial.params.items()), trial.user_attrs["seed"], trial.user_attrs["stage"]): (
            trial.state.name,
            trial.value,
        )
        for trial in trials
    }


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    main()
