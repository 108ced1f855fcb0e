"""Take the two pictures of MLflow's UI that the documentation shows, from a real study.

    batch-size grid digits --batch-sizes 8,16,32,64,128,256,512 --epochs 8
    python docs/images/make_ui_images.py --study digits-grid

needs chromium. The store is `sqlite:///mlflow.db` in the working directory, or the one named with `--tracking-uri`.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).parent
ROOT = IMAGES.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "tuning" / "record")]  # the browser and the server of the tests

from chromium import Chromium
from ui_process import UiProcess

_SETTLE_S = 3.0  # charts fade in


def main() -> None:
    """Read the command line and write `ui_charts.png` and `ui_table.png` beside this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db")
    parser.add_argument("--study", default="")
    asked = parser.parse_args()
    with UiProcess(asked.tracking_uri, study=asked.study) as ui, Chromium() as browser:
        browser.open(ui.server)
        browser.wait_for("document.body && document.body.innerText.length > 50")
        browser.evaluate("localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')")
        _take(browser, ui.url, "document.querySelectorAll('.parcoords canvas').length > 0", (1280, 1160), "ui_charts")
        table = ui.url.replace("CHART", "TABLE")
        _take(browser, table, "document.querySelectorAll('.ag-cell a').length > 20", (1700, 900), "ui_table")


def _take(browser: Chromium, url: str, drawn: str, size: tuple[int, int], name: str) -> None:
    browser.resize(*size)
    browser.open(url)
    browser.wait_for(drawn)
    time.sleep(_SETTLE_S)
    picture = io.BytesIO()
    browser.screenshot(picture)
    small = Image.open(picture).convert("RGB").quantize(200)
    small.save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
