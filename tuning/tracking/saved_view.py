"""The view of a study that MLflow's UI opens: charts first, trials grouped by batch size with their seeds averaged.

The format is internal to MLflow's UI (read and tried in 3.17): an experiment tag `mlflow.sharedViewState.ID` holds JSON
with a name, two times in milliseconds, and `state`, which is "deflate;" + base64(zlib(JSON of the page's state)).
A UI that does not know it shows its own default page; nothing else depends on it.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from typing import Any
from urllib.parse import quote

from tuning.tracking import layout

VIEW_ID = "batch-size"
TAG = f"mlflow.sharedViewState.{VIEW_ID}"
_NAME = "Batch sizes compared"
_SECTION = "batch-size-charts"
_OTHERS = "batch-size-other-metrics"
_SYSTEM = "batch-size-system-metrics"


def view_tag(objective: str) -> dict[str, str]:
    """The tag that makes the view, by its name.

    Args:
        objective: The metric that is compared.
    """
    packed = base64.b64encode(zlib.compress(json.dumps(page_state(objective)).encode(), 9)).decode()
    now_ms = time.time_ns() // 1_000_000
    envelope = {"name": _NAME, "createdAt": now_ms, "updatedAt": now_ms, "state": f"deflate;{packed}"}
    return {TAG: json.dumps(envelope)}


def view_url(server: str, experiment_id: str) -> str:
    """The address of the view on an MLflow server, for example `http://127.0.0.1:5000`."""
    return (
        f"{server.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs"
        f"?workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={VIEW_ID}"
    )


def page_state(objective: str) -> dict[str, Any]:
    """The page's state: which runs, in which order and groups, which columns, which charts."""
    columns = _columns(objective)
    widths = {"attributes.`Run Name`": 200, "runDateAndNestInfo": 145, "duration": 75} | columns
    return {
        "searchFilter": f"params.batch_size != '' and tags.`{layout.STAGE}` != '{layout.PROBE}'",
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
        "compareRunCharts": _charts(objective),
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _columns(objective: str) -> dict[str, int]:
    """Width in pixels of each column chosen, in their order."""
    return {
        "params.`batch_size`": 85,
        "params.`learning_rate`": 105,
        "params.`seed`": 55,
        f"tags.`{layout.STATUS}`": 130,
        f"metrics.`{layout.clean_name(objective)}`": 115,
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


def _charts(objective: str) -> list[dict[str, Any]]:
    metric = layout.clean_name(objective)
    loss = "val_loss" if objective == "loss" else "loss"
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
