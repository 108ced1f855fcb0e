"""A study of hundreds of trials: how long its report takes and how large it is, and whether MLflow's page still draws.

    python benchmarks/many_trials.py
    python benchmarks/many_trials.py --trials 2000 --keep /some/folder

trains nothing: the trials of the tests' example are recorded, 8 epochs each. The page is opened in Chromium, if any,
and counts as drawn when every chart of the saved view holds its marks. With `--keep` the report and the pictures
stay.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "tuning" / "record")]  # the example, the browser and its server

from chromium import EXECUTABLE, Chromium
from example_study import BATCH_SIZES, record_example
from ui_process import UiProcess

from tuning.record.mlflow_tracker import MlflowTracker
from tuning.show.evidence import evidence_of_study
from tuning.show.page import FILE_NAME, render_report

LARGEST_BYTES = 2_000_000
WINDOWS = ((1280, 800), (1920, 1080))
_PATIENCE_S = 300.0
_DRAWN = (
    "document.querySelectorAll('.js-plotly-plot .trace').length >= 17"
    " && document.querySelectorAll('.parcoords canvas').length > 0"
)


def main() -> int:
    """Read the command line, measure, and say whether everything held."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=500, help="how many (500)")
    parser.add_argument("--keep", type=Path, help="a folder for the report and the pictures")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = asked.keep or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{Path(folder, 'mlflow.db')}"
        with told(f"{asked.trials} trials recorded"):
            tracker = MlflowTracker(uri)
            record_example(tracker, seeds=range(-(-asked.trials // len(BATCH_SIZES))))
            tracker.close(patience_s=math.inf)
        size = measure_report(uri, kept / FILE_NAME)
        if EXECUTABLE is None:
            print("no Chromium: MLflow's page was not opened")
        else:
            open_page(uri, kept)
    return 0 if size < LARGEST_BYTES else 1


def measure_report(uri: str, path: Path) -> int:
    """Write the report; its size in bytes."""
    with told("read from MLflow"):
        evidence = evidence_of_study(uri, None)
    with told("report drawn"):
        page = render_report(evidence)
    path.write_text(page, encoding="utf-8")
    print(f"{len(evidence.trials)} trials, {path.stat().st_size / 1000:,.0f} kB (at most {LARGEST_BYTES / 1000:,.0f})")
    return path.stat().st_size


def open_page(uri: str, folder: Path) -> None:
    """Open the study's saved view in each window and take its picture.

    Raises:
        TimeoutError: If the charts are not drawn.
    """
    with UiProcess(uri) as ui, Chromium() as browser:
        browser.open(ui.server)
        browser.wait_for_text("digits-grid", _PATIENCE_S)
        browser.evaluate("localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')")
        for width, height in WINDOWS:
            browser.resize(width, height * 2)
            with told(f"page drawn at {width}x{height * 2}"):
                browser.open(ui.url)
                browser.wait_for(_DRAWN, _PATIENCE_S)
            with (folder / f"ui_{width}.png").open("wb") as picture:
                browser.screenshot(picture)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say how long the block took."""
    started = time.perf_counter()
    yield
    print(f"{what}: {time.perf_counter() - started:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
