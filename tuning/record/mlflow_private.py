"""Everything that this package takes from MLflow beyond its documented interface: MLflow 3.17.

Each name has a test in tests/tuning/record/test_mlflow_private.py that says what breaks when the name goes. Most of
them make the saved view, which is the state of MLflow's page as that page itself stores it.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from mlflow import environment_variables as environment
from mlflow.exceptions import MlflowException
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

VIEW_ID = "batch-size"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW_ID}"
"""The experiment's tag that holds the saved view. Without it `batch-size ui` opens the experiment's plain page."""

_NAME = "Batch sizes compared"
_SECTION = "batch-size-charts"
_OTHERS = "batch-size-other-metrics"
_SYSTEM = "batch-size-system-metrics"


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


LIMITED = (
    environment.MLFLOW_HTTP_REQUEST_TIMEOUT,
    environment.MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    environment.MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR,
    environment.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
    environment.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
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
    values = (timeout_s, retries, 1, True, False)
    _block.defaults = {variable.name: value for variable, value in zip(LIMITED, values, strict=True)}
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


class _OutsideBlocks(logging.Filter):
    """Lets pass what is logged outside `client_limits`."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.CRITICAL or not getattr(_block, "defaults", {})


for _variable in LIMITED:
    _limit(_variable)
for _name in ERROR_LOGGERS:
    logging.getLogger(_name).addFilter(_OutsideBlocks())


def view_tag(metric: str, *, trial_tag: str, status_tag: str) -> dict[str, str]:
    """Return the tag that makes the saved view, by its name.

    Args:
        metric: The metric that is compared, by its name in MLflow.
        trial_tag: The tag that every trial's run has, and no other run.
        status_tag: The tag that says how a trial ended.
    """
    state = page_state(metric, trial_tag=trial_tag, status_tag=status_tag)
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    now_ms = time.time_ns() // 1_000_000
    envelope = {"name": _NAME, "createdAt": now_ms, "updatedAt": now_ms, "state": f"deflate;{packed}"}
    return {VIEW_TAG: json.dumps(envelope)}


def view_url(server: str, experiment_id: str) -> str:
    """Return the address of the view on an MLflow server, for example `http://127.0.0.1:5000`."""
    return (
        f"{server.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs"
        f"?workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={VIEW_ID}"
    )


def page_state(metric: str, *, trial_tag: str, status_tag: str) -> dict[str, Any]:
    """Return the page's state: which runs, in which order and groups, which columns, which charts."""
    columns = _columns(metric, status_tag)
    widths = {"attributes.`Run Name`": 200, "runDateAndNestInfo": 145, "duration": 75} | columns
    return {
        "searchFilter": f"tags.`{trial_tag}` != ''",  # runs without the tag are left out
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL",  # by default only the first ten runs are drawn
        "groupBy": {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "param", "groupByData": "batch_size"}],
        },
        "useGroupedValuesInCharts": True,
        "runListHidden": True,
        "hideEmptyCharts": True,
        "isAccordionReordered": True,  # keeps the sections in this order, not the alphabet's
        "compareRunSections": [
            _section(_SECTION, "Batch sizes", shown=True),
            _section(_OTHERS, "Model metrics", shown=False),  # MLflow adds a chart here for every other metric
            _section(_SYSTEM, "System metrics", shown=False),
        ],
        "compareRunCharts": _charts(metric),
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _columns(metric: str, status_tag: str) -> dict[str, int]:
    """Return the width in pixels of each column chosen, in their order."""
    return {
        "params.`batch_size`": 85,
        "params.`learning_rate`": 105,
        "params.`seed`": 55,
        f"tags.`{status_tag}`": 130,
        f"metrics.`{metric}`": 115,
        "metrics.`examples_per_second`": 145,
        "metrics.`peak_memory_bytes`": 145,
    }


def _section(uuid: str, name: str, *, shown: bool) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "name": name,
        "display": shown,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": 3,
        "cardHeight": 360,
    }


def _charts(metric: str) -> list[dict[str, Any]]:
    loss = "val_loss" if metric == "loss" else "loss"
    charts = [
        _line(metric),
        {
            "type": "SCATTER",
            "xaxis": {"key": "batch_size", "type": "PARAM"},
            "yaxis": {"key": metric, "type": "METRIC"},
        },
        _line(loss),
        {"type": "BAR", "metricKey": "examples_per_second"},
        {"type": "BAR", "metricKey": "peak_memory_bytes"},
        {
            "type": "PARALLEL",
            "selectedParams": ["batch_size", "learning_rate"],
            "selectedMetrics": [metric],
            "showAllRuns": True,
        },
    ]
    common = {"metricSectionId": _SECTION, "deleted": False, "isGenerated": False, "runsCountToCompare": 1000}
    return [{"uuid": f"batch-size-{place}", **common, **chart} for place, chart in enumerate(charts)]


def _line(metric: str) -> dict[str, Any]:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "metric",
        "selectedXAxisMetricKey": "examples_seen",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": True,
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
    }
