"""Do the tests notice small mistakes? Makes each one of `benchmarks/mutants/*.json`, and runs tests that should fail.

    python benchmarks/mutation.py [stats run record loops]

Works on a copy of the tree, so that a run that is cut off leaves nothing behind. A mutant is a file, a text in it that
occurs once, what stands there instead, and the tests; one whose text no longer occurs is told as stale.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MUTANTS = Path(__file__).parent / "mutants"
PARTS = ("tuning", "search_spaces", "tests", "notebooks", "docs")
FILES = ("pyproject.toml", "README.md")
_TESTS_FAILED = 1  # pytest's exit status; any other says that the tests did not run


def main() -> int:
    """Print what became of every mutant; the exit status is 1 if one survived or is stale."""
    known = sorted(path.stem for path in MUTANTS.glob("*.json"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(known)} (all)")
    rooms = parser.parse_args().rooms or known
    missing = sorted(set(rooms) - set(known))
    if missing:
        parser.error(f"A room must be one of {', '.join(known)}; got {', '.join(missing)}.")
    with tempfile.TemporaryDirectory() as scratch:
        copy = copy_tree(Path(scratch))
        fates = [fate for room in rooms for fate in try_room(copy, room)]
    killed = fates.count("killed")
    print(f"{killed} of {len(fates)} mutants killed, {fates.count('stale')} stale")
    return 0 if killed == len(fates) else 1


def copy_tree(target: Path) -> Path:
    """Copy what the tests need."""
    for part in PARTS:
        shutil.copytree(ROOT / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, target / name)
    return target


def try_room(copy: Path, room: str) -> list[str]:
    """Try the mutants of a room, and tell of those that were not killed."""
    fates = []
    for mutant in json.loads((MUTANTS / f"{room}.json").read_text(encoding="utf-8")):
        fates.append(fate_of(copy, mutant))
        if fates[-1] != "killed":
            print(f"{fates[-1]}: {mutant['file']}: {mutant['new']!r}", flush=True)
    print(f"{room}: {fates.count('killed')} of {len(fates)} killed", flush=True)
    return fates


def fate_of(copy: Path, mutant: dict[str, Any]) -> str:
    """Return "killed", "survived", "stale" or "broken" (the tests did not run)."""
    path = copy / mutant["file"]
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text.count(mutant["old"]) != 1:
        return "stale"
    path.write_text(text.replace(mutant["old"], mutant["new"]), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant["tests"]]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False)
    finally:
        path.write_text(text, encoding="utf-8")
    if done.returncode == _TESTS_FAILED:
        return "killed"
    return "survived" if done.returncode == 0 else "broken"


if __name__ == "__main__":
    sys.exit(main())
