"""Try this package on the oldest, a middle and the newest versions of what it stands on: `make matrix`.

    python versions/matrix.py             # all three
    python versions/matrix.py oldest      # one of them

Each set is a file of constraints beside this one; its first line names the Python. A set has a virtual environment of
its own in `.matrix/`, which is made anew when its file or a dependency in pyproject.toml has changed. On it run:

    loops           the training loops against plain `fit`, and the private names of the libraries
    kinds           the core of the conformance suite: kinds of models against scripts of plain Keras
    record          MLflow's store written and read, the Optuna study kept
    command line    a grid, the pick from MLflow, the report, a final model and a Bayesian search, as a user runs them

The table goes into docs/versions.md, each set's line when it has been tried. It takes some minutes for each set on two
cores, and as long again where an environment has to be made. The exit status is 1 if anything failed.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
PLACE = ROOT / ".matrix"
PAGE = ROOT / "docs" / "versions.md"
SETS = ("oldest", "middle", "newest")
LIBRARIES = ("tensorflow", "keras", "optuna", "mlflow")
TEST_PACKAGES = ("pytest", "pytest-timeout", "hypothesis")
COLUMNS = "| set | Python | TensorFlow | Keras | Optuna | MLflow | loops | kinds | record | command line | tried |"
_TELL_VERSIONS = """
import platform, sys
from importlib.metadata import version
print(platform.python_version(), *map(version, sys.argv[1:]))
"""
AGREES = "test_every_loop_that_can_trains_to_what_plain_fit_logs"
CORE = ("perceptron", "convolution", "batch normalization", "masked recurrence", "dropout", "text", "array of metrics")
TESTS = {
    "loops": (
        "tests/tuning/loops/test_loops_agree.py",
        "tests/tuning/loops/test_keras_private.py",
        "tests/tuning/loops/test_tensorflow_private.py",
    ),
    "kinds": tuple(f"tests/conformance/test_kinds.py::{AGREES}[{kind}]" for kind in CORE),
    "record": (
        "tests/tuning/record/test_client_limits.py",
        "tests/tuning/record/test_mlflow_tracker.py",
        "tests/tuning/study/test_study.py",
    ),
}
COMMANDS = (
    "grid digits --batch-sizes 32,128 --epochs 2 --seeds 2 --json",
    "pick digits-grid --json",
    "report digits-grid",
    "train digits-grid --register digits --quiet",
    "bayes digits --batch-sizes 32,128 --epochs 1 --seeds 1 --trials 4 --json",
)


class Environment:
    """A virtual environment with one set of versions.

    Args:
        name: Of the set.

    Raises:
        LookupError: If this machine has not the Python that the set names.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.constraints = HERE / f"{name}.txt"
        self.base = interpreter(python_of(self.constraints))
        self.bin = PLACE / name / "bin"

    def make(self) -> None:
        """Install, unless what is there was made of the same files."""
        made_of = PLACE / self.name / "made-of"
        digest = hashlib.sha256(f"{self.constraints.read_text()} {wanted()}".encode()).hexdigest()
        if made_of.exists() and made_of.read_text() == digest:
            return
        print(f"{self.name}: installing into .matrix/{self.name}", flush=True)
        subprocess.run([self.base, "-m", "venv", "--clear", PLACE / self.name], check=True)
        install = [self.bin / "python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "--upgrade", "pip"], check=True)
        subprocess.run([*install, "-c", self.constraints, "--editable", ROOT, *TEST_PACKAGES], check=True)
        made_of.write_text(digest)

    def versions(self) -> list[str]:
        """The versions that are installed, of Python and of the libraries."""
        command = [self.bin / "python", "-c", _TELL_VERSIONS, *LIBRARIES]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return done.stdout.split()

    def passes(self, tests: tuple[str, ...]) -> str:
        """Run tests and return how they went. Warnings are no errors here: each version has its own."""
        command = [self.bin / "python", "-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stdout[-6000:], flush=True)
        summary = done.stdout.strip().rpartition("\n")[2]
        counts = [f"{number} {word}" for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", summary)]
        return ", ".join(counts) if done.returncode == 0 else f"**{', '.join(counts) or 'failed'}**"

    def obeys(self) -> str:
        """Run the commands as a user would, in an empty directory, and return how that went."""
        with tempfile.TemporaryDirectory() as place:
            for command in COMMANDS:
                words = [self.bin / "batch-size", *command.split()]
                done = subprocess.run(words, cwd=place, capture_output=True, text=True, check=False)
                if done.returncode or ("--json" in command and not _is_answer(done.stdout)):
                    print(f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}", flush=True)
                    return f"**failed: {command.split()[0]}**"
        return "passed"


def python_of(constraints: Path) -> str:
    """Return the version of Python that a set names in its first line, such as 3.12."""
    return constraints.read_text().split(maxsplit=3)[2]


def wanted() -> list[str]:
    """The dependencies of this package."""
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])


def interpreter(version: str) -> str:
    """Return the path of Python `version`, such as 3.12: on the PATH, or one that pyenv keeps.

    Raises:
        LookupError: If there is none.
    """
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    on_path = shutil.which(f"python{version}")
    for found in (*map(str, kept), on_path):
        if found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0:
            return found
    raise LookupError(f"no Python {version} on this machine")


def _is_answer(printed: str) -> bool:
    try:
        return int(json.loads(printed)["recommended_batch_size"]) in (32, 128)
    except (ValueError, KeyError):
        return False


def line_of(name: str) -> str:
    """Try one set, and return its line of the table."""
    try:
        environment = Environment(name)
    except LookupError as lacking:
        return f"| {name} | not tried: {lacking} |" + " |" * 9
    environment.make()
    cells = [name, *environment.versions()]
    for what, tests in TESTS.items():
        print(f"{name}: {what}", flush=True)
        cells.append(environment.passes(tests))
    print(f"{name}: command line", flush=True)
    cells += [environment.obeys(), datetime.date.today().isoformat()]
    return f"| {' | '.join(cells)} |"


def write(line: str) -> None:
    """Put a set's line into the page in the place of its old one."""
    name = line.split(" | ")[0]
    lines = [line if old.startswith(f"{name} |") else old for old in PAGE.read_text().splitlines()]
    PAGE.write_text("\n".join(lines) + "\n")


def main(names: list[str]) -> int:
    """Try the sets; return 1 if anything failed or could not be tried."""
    lines = []
    for name in names:
        lines.append(line_of(name))
        write(lines[-1])
    print("\n".join([COLUMNS, *lines]))
    return int(any("**" in line or "not tried" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(SETS)))
