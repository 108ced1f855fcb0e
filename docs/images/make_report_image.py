"""Take the two pictures of a report that the gallery shows: its top, and its figures.

    batch-size tune digits
    batch-size report digits-tune -o report.html
    python docs/images/make_report_image.py report.html

needs chromium.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "tuning" / "record"))  # the browser of the tests

from chromium import Chromium

IMAGES = Path(__file__).parent
_SIZE = (1100, 1300)
_FIGURES = "What was found"
_SETTLE_S = 1.0


def main(page: Path) -> None:
    """Open a page, and write the pictures beside this file."""
    with Chromium(*_SIZE) as browser:
        browser.open(page.resolve().as_uri())
        browser.wait_for("document.querySelectorAll('svg').length > 0")
        _take(browser, "report_answer")
        browser.evaluate(
            f"[...document.querySelectorAll('h2')].find(h => h.textContent == {_FIGURES!r}).scrollIntoView()"
        )
        _take(browser, "report_figures")


def _take(browser: Chromium, name: str) -> None:
    time.sleep(_SETTLE_S)
    taken = io.BytesIO()
    browser.screenshot(taken)
    Image.open(taken).convert("RGB").quantize(200).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
