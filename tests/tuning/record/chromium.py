"""A headless Chromium driven over its debugging pipe: enough to open a page, ask it things and take its picture."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import IO, Any

EXECUTABLE = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


# Where the protocol reads and writes.
_ONTO_3_AND_4 = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


# A mouse; without one, Plotly shows every chart's tools all the time, over the chart.
_MOUSE = "primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"


class Chromium:
    """One page of a browser with a profile of its own, as a context manager.

    Its DevTools protocol is spoken over two pipes (`--remote-debugging-pipe`), JSON messages ended by a zero byte, so
    that no package for websockets is needed.
    """

    def __init__(self, width: int = 1280, height: int = 800) -> None:
        self._size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._number = 0
        self._session = ""

    def __enter__(self) -> Chromium:
        assert EXECUTABLE is not None
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        child_reads, self._write, self._read, child_writes = (_above_ten(end) for end in (*os.pipe(), *os.pipe()))
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        options += [
            f"--blink-settings={_MOUSE}",
            "--remote-debugging-pipe",
            f"--user-data-dir={self._profile.name}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ONTO_3_AND_4, str(child_reads), str(child_writes), EXECUTABLE, *options],
            pass_fds=(child_reads, child_writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(child_reads)
        os.close(child_writes)
        self._buffer = b""
        pages = self._call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.resize(self._size["width"], self._size["height"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)
        self._profile.cleanup()

    def resize(self, width: int, height: int) -> None:
        """Give the window this size, in pixels."""
        self._call("Emulation.setDeviceMetricsOverride", **{**self._size, "width": width, "height": height})

    def prefer(self, scheme: str) -> None:
        """Ask for pages in "light" or "dark"."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Go to an address, loading the page anew."""
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def text(self) -> str:
        """The text that the page shows."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait_for(self, condition: str, timeout_s: float = 60) -> None:
        """Wait until a JavaScript expression is true.

        Raises:
            TimeoutError: If it is not in time; the page's text is in the message.
        """
        deadline = time.monotonic() + timeout_s
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true: {condition}; the page says: {self.text()[:2000]}")
            time.sleep(0.2)

    def wait_for_text(self, text: str, timeout_s: float = 60) -> None:
        """Wait until the page shows this text."""
        self.wait_for(f"document.body && document.body.innerText.includes({json.dumps(text)})", timeout_s)

    def screenshot(self, file: IO[bytes]) -> None:
        """Write what the window shows as a PNG."""
        file.write(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise RuntimeError("the browser has ended")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


def _above_ten(descriptor: int) -> int:
    """The same pipe under a number that is out of the way of 3 and 4."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
