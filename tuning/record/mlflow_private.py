"""Everything that this package takes from MLflow beyond its documented interface: MLflow 2.22 to 3.17.

Each name has a test in tests/tuning/record/test_mlflow_private.py that says what breaks when the name goes. The saved
views, which are the state of MLflow's page as that page itself stores it, are made in `mlflow_views`.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow import environment_variables as environment
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service.client import TrackingServiceClient
from requests.exceptions import ConnectionError, RetryError, Timeout
from sqlalchemy.exc import SADeprecationWarning

NOTE = "mlflow.note.content"
"""The tag whose Markdown the page of a run or an experiment shows on top. Without it nothing is shown there."""

EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""The tag that opens an experiment in the form for model training. Without it MLflow asks which form to use."""

STORE_TABLE = "experiments"
"""A table that every sqlite store of MLflow has, by which a file is told from another program's database."""

REVISION_TABLE = "alembic_version"
"""The table of a sqlite store that tells which of MLflow's migrations its tables have. Without it a new store is
migrated, however long that takes."""

ERROR_LOGGERS = ("mlflow.store.db.utils", "urllib3.connectionpool")
"""The loggers that print errors which are raised, too. Without them a lost server prints tracebacks."""

RUN_COLOR = "mlflow.runColor"
"""The tag by which a run has the same colour in every chart. Without it colours differ from page to page."""

MIGRATION_LOGGER = "alembic.runtime.migration"
"""The logger by which MLflow 2.22 and 3.4 tell thirty migrations of a new store. Without it they are printed."""


SYSTEM_METRICS_LOGGER = "mlflow.system_metrics.system_metrics_monitor"
"""The logger by which MLflow tells that it begins and ends to sample the machine. Without it that is printed."""


def server_environment(tracking_uri: str) -> dict[str, str]:
    """Return the environment that tells `mlflow server` its store and keeps its job workers away."""
    # The URI may hold a password, which every user of the machine could read from the command line. The job workers,
    # seven processes of 140 MB, serve features that a study does not use.
    return {"MLFLOW_BACKEND_STORE_URI": tracking_uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def is_unanswered(error: BaseException, *, retried: bool = True) -> bool:
    """Return whether no server answered.

    Args:
        error: The error that MLflow raised.
        retried: Whether to count a server that answered each retry with a refusal for now.
    """
    # MLflow raises its own exception while it handles that of requests, without naming it as the cause.
    kinds = (ConnectionError, Timeout, RetryError) if retried else (ConnectionError, Timeout)
    return any(isinstance(cause, kinds) for cause in (error, error.__cause__, error.__context__))


def status_of(error: MlflowException) -> int:
    """Return the HTTP status that a server gave, or would have given."""
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]


_NO_LINKS = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"
_IN_A_BLOCK: dict[str, Any] = {
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": 1,
    _NO_LINKS: True,  # not in MLflow 2.22, see `_without_links`
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": False,
}
LIMITED = tuple(
    getattr(environment, name)
    for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", *_IN_A_BLOCK)
    if hasattr(environment, name)
)
"""The variables whose defaults `client_limits` changes for a thread. Without, a lost server is asked for minutes."""

_block = threading.local()
"""The defaults of this thread's innermost `client_limits`, by name."""


@contextmanager
def client_limits(*, timeout_s: int, retries: int) -> Iterator[None]:
    """Bound how long MLflow's client waits for a server inside the block, in this thread alone.

    By itself it would retry seven times with growing pauses, about four minutes. What the user has set in the
    environment stays. The environment itself is not touched: other threads start processes and use MLflow meanwhile.

    The client is also kept quiet: it prints links and progress bars, which would end up amid the output of `--json`; it
    logs failed requests and database errors, with tracebacks, that it raises, too; and mlflow 3.17 uses what sqlalchemy
    2.1 has deprecated (`noload`).
    """
    before = getattr(_block, "defaults", {})
    waits = {"MLFLOW_HTTP_REQUEST_TIMEOUT": timeout_s, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": retries}
    _block.defaults = waits | _IN_A_BLOCK
    if not any(category is SADeprecationWarning for _, _, category, *_ in warnings.filters):
        # For good, because filters cannot be changed for one thread.
        warnings.filterwarnings("ignore", "The ``noload`` loader", SADeprecationWarning)
    try:
        yield
    finally:
        _block.defaults = before


def _limit(variable: Any) -> None:
    """Let a variable of MLflow's look for a default of the thread before its own."""
    usual = variable.get

    def get() -> Any:
        defaults = getattr(_block, "defaults", {})
        return defaults[variable.name] if variable.name in defaults and not variable.is_set() else usual()

    variable.get = get


def _without_links(show: Any) -> Any:
    """Return MLflow's method that prints the link of a run which ended, silent inside `client_limits`."""

    def show_outside(self: Any, *arguments: Any) -> None:
        if not getattr(_block, "defaults", {}):
            show(self, *arguments)

    return show_outside


class _OutsideBlocks(logging.Filter):
    """Lets pass what is logged outside `client_limits`."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.CRITICAL or not getattr(_block, "defaults", {})


for _variable in LIMITED:
    _limit(_variable)
for _name in (*ERROR_LOGGERS, MIGRATION_LOGGER, SYSTEM_METRICS_LOGGER):
    logging.getLogger(_name).addFilter(_OutsideBlocks())
if not hasattr(environment, _NO_LINKS) and hasattr(TrackingServiceClient, "_log_url"):
    TrackingServiceClient._log_url = _without_links(TrackingServiceClient._log_url)  # type: ignore[method-assign]
