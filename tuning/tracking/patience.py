"""Bounds on how long MLflow's client waits, and quiet while it does."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SADeprecationWarning


@contextmanager
def patience(*, timeout_s: int, retries: int) -> Iterator[None]:
    """Bound what MLflow's client waits for a server inside the block; it reads its limits from the environment.

    By itself it would retry seven times with growing pauses, about four minutes. What the user has set stays.

    The client is also kept quiet: it prints links and progress bars, which would end up amid the output of `--json`; it
    logs failed requests and database errors, with tracebacks, that it raises, too; and mlflow 3.17 uses what sqlalchemy
    2.1 has deprecated (`noload`).
    """
    levels = {name: logging.getLogger(name).level for name in ("mlflow.store.db.utils", "urllib3.connectionpool")}
    set_here = {
        name: value
        for name, value in {
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout_s),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": str(retries),
            "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }.items()
        if name not in os.environ
    }
    os.environ.update(set_here)
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SADeprecationWarning)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        for name in set_here:
            os.environ.pop(name, None)
