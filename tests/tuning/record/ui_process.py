"""`serve` in a process of its own, as the command line runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import TracebackType

_SERVE = """
import sys
from tuning.record.ui import serve
sys.exit(serve(sys.argv[1], sys.argv[3] or None, port=int(sys.argv[2]) or None))
"""


class UiProcess:
    """A context manager; `url` is the address that was printed, `server` its beginning."""

    def __init__(self, tracking_uri: str, port: int = 0, study: str = "") -> None:
        self._arguments = [sys.executable, "-c", _SERVE, tracking_uri, str(port), study]

    def __enter__(self) -> UiProcess:
        self.process = subprocess.Popen(
            self._arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.server = self.url.partition("/#")[0]
        self.port = int(self.server.rpartition(":")[2])
        return self

    def stop(self) -> int:
        """Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        assert self.process.stdout is not None
        self.process.stdout.close()
