"""What a search costs before and after its trainings: a grid of one trial, whole process, over `import keras`.

    python benchmarks/start_up.py [--other DIRECTORY]

A grid of digits with one batch size, seed and epoch trains for less than a second, so that its time is that of
starting, describing, timing the advice, reporting and leaving. The yardstick is `python -c "import keras"`, which every
search must do once. Both are run by turns, so that other work of the machine meets them alike. `--other` adds a second
checkout of this project, such as the main branch, to the turns; it is imported in place of this one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRID = ("-m", "tuning.cli", "grid", "digits", "--batch-sizes", "64", "--epochs", "1", "--seeds", "1", "--quiet")
KERAS = ("-c", "import keras")
HERE = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print the median seconds of each command, and their ratio to the yardstick."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--other", type=Path, help="another checkout, to compare with")
    asked = parser.parse_args()
    commands = {"import keras": (KERAS, HERE), "grid": (GRID, HERE)}
    if asked.other is not None:
        commands["grid, other checkout"] = (GRID, asked.other.resolve())
    for arguments, checkout in commands.values():  # once before, so that each finds its files in the memory
        seconds_of(arguments, checkout)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(asked.runs):
        for name, (arguments, checkout) in commands.items():
            seconds[name].append(seconds_of(arguments, checkout))
        ratios = [f"{name} {seconds[name][-1] / seconds['import keras'][-1]:.2f}" for name in list(commands)[1:]]
        print(f"turn {turn + 1}: {', '.join(ratios)}", flush=True)
    for name, found in seconds.items():
        pairs = zip(found, seconds["import keras"], strict=True)
        ratio = statistics.median(mine / yardstick for mine, yardstick in pairs)
        told = f"median {statistics.median(found):6.2f} s, {min(found):.2f} to {max(found):.2f}"
        print(f"{name:22} {told}; ratio {ratio:.2f}")
    print(f"load of the machine: {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores")


def seconds_of(arguments: tuple[str, ...], checkout: Path) -> float:
    """Return how long a command takes in an empty folder, from its start to its end."""
    path = os.pathsep.join(filter(None, (str(checkout), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
