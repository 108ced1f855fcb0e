"""EarlyImports: loads what an answer needs while the first trials train, when the driver has nothing else to do."""

from __future__ import annotations

import importlib
import threading

_NEEDED = (
    "scipy.optimize",
    "scipy.stats",
    "matplotlib.figure",
    "matplotlib.ticker",
    "matplotlib.backends.backend_svg",
)
"""Half a second of processor time (measured) that the start of a search does not wait for."""


class EarlyImports:
    """Imports modules in a thread of its own, once, from the first trial on."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=_load, name="loading-for-the-answer", daemon=True)

    def begin(self) -> None:
        """Begin to load, unless that has begun."""
        if self._thread.ident is None:
            self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being loaded, such as before something is timed that it would disturb."""
        if self._thread.ident is not None:
            self._thread.join()


def _load() -> None:
    for name in _NEEDED:
        importlib.import_module(name)
