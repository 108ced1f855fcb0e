"""The saved views of a study in MLflow: the state of MLflow's page as that page itself stores it (MLflow 3.17).

None of this is documented; each name has a test in tests/tuning/record/test_mlflow_views.py that says what breaks when
it goes.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

DECIDING, EVERYTHING = "batch-size", "batch-size-all"
"""The ids of the views: the runs that decided, and all trials."""

_TAG = "mlflow.sharedViewState."
VIEW_TAG, ALL_VIEW_TAG = f"{_TAG}{DECIDING}", f"{_TAG}{EVERYTHING}"
"""The experiment's tags that hold them. Without them `batch-size ui` opens the experiment's plain page."""

_SECTION = "batch-size-charts"
_OTHERS = "batch-size-other-metrics"
_SYSTEM = "batch-size-system-metrics"
_ANSWER = "batch-size-answer"


@dataclass(frozen=True)
class View:
    """The names in MLflow that the views are made of.

    Args:
        trial_tag: The tag that every trial's run has, and no other run.
        status_tag: The tag that says how a trial ended.
        decides_tag: The tag of the runs that decided.
        answer: The beginning of the names of the metrics that hold the answer's table, up to a slash.
        has_target: Whether batch sizes are judged by the time to a target.
    """

    trial_tag: str
    status_tag: str
    decides_tag: str
    answer: str
    has_target: bool = False


def view_tags(metric: str, view: View) -> dict[str, str]:
    """Return the tags that make the saved views, by their names.

    Args:
        metric: The metric that is compared, by its name in MLflow.
        view: The other names.
    """
    return {
        VIEW_TAG: _packed("What decided", deciding_state(metric, view)),
        ALL_VIEW_TAG: _packed("All trials", everything_state(metric, view)),
    }


def view_url(server: str, experiment_id: str, view_id: str = DECIDING) -> str:
    """Return the address of a view on an MLflow server, for example `http://127.0.0.1:5000`."""
    return (
        f"{server.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs"
        f"?workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={view_id}"
    )


def deciding_state(metric: str, view: View) -> dict[str, Any]:
    """Return the page that shows the runs that decided: seeds as points, and the numbers of the answer's table."""
    answer = [f"{view.answer}{name}" for name in ("score", "mean", "standard_error")]
    costs = ("seconds_to_target", "examples_per_second", "peak_memory_mib")
    machine = [f"{view.answer}{name}" for name in (costs if view.has_target else costs[1:])]
    place, rate = f"{view.answer}log2_batch_size", f"{view.answer}learning_rate"
    return _state(
        view,
        filter_text=f"tags.`{view.decides_tag}` = 'true'",
        order=f"metrics.`{place}`",
        columns=_params("batch_size", "seed") | {f"metrics.`{name}`": 130 for name in (rate, *answer, *machine)},
        charts=[
            *(_scatter(place, name) for name in (answer[0], answer[1], *machine)),
            *_curves(metric),
            _parallel(answer[0]),
        ],
    )


def everything_state(metric: str, view: View) -> dict[str, Any]:
    """Return the page that shows every trial, whatever became of it; colours tell how those without a score ended."""
    measured = ["examples_per_second", "peak_memory_bytes"]
    setting = _params("batch_size", "learning_rate", "seed")
    status = {f"tags.`{view.status_tag}`": 130, "tags.`batch_size.stage`": 100}
    return _state(
        view,
        filter_text=f"tags.`{view.trial_tag}` != ''",  # runs without the tag are left out
        order="attributes.start_time",
        columns=setting | status | {f"metrics.`{name}`": 145 for name in (metric, *measured)},
        charts=[
            *(_scatter("batch_size", name, kind="PARAM") for name in (metric, *measured)),
            *_curves(metric),
            _parallel(metric),
        ],
    )


def _packed(name: str, state: dict[str, Any]) -> str:
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    now_ms = time.time_ns() // 1_000_000
    return json.dumps({"name": name, "createdAt": now_ms, "updatedAt": now_ms, "state": f"deflate;{packed}"})


def _state(
    view: View, *, filter_text: str, order: str, columns: dict[str, int], charts: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the page's state: which runs, in which order, which columns, which charts; a mark for each run."""
    widths = {"attributes.`Run Name`": 200, "runDateAndNestInfo": 145, "duration": 75} | columns
    common = {"metricSectionId": _SECTION, "deleted": False, "isGenerated": False, "runsCountToCompare": 1000}
    return {
        "searchFilter": filter_text,
        "orderByKey": order,
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL",  # by default only the first ten runs are drawn
        "groupBy": None,
        "useGroupedValuesInCharts": False,
        "runListHidden": True,
        "hideEmptyCharts": True,
        "isAccordionReordered": True,  # keeps the sections in this order, not the alphabet's
        "compareRunSections": [
            _section(_SECTION, "Batch sizes", shown=True),
            _section(_OTHERS, "Model metrics", shown=False),  # MLflow adds a chart here for every other metric
            _section(_SYSTEM, "System metrics", shown=False),
            _section(_ANSWER, view.answer.rstrip("/"), shown=False),
        ],
        "compareRunCharts": [{"uuid": f"batch-size-{place}", **common, **chart} for place, chart in enumerate(charts)],
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _params(*names: str) -> dict[str, int]:
    """Return the width in pixels of the columns of some params, in their order."""
    return {f"params.`{name}`": 55 if name == "seed" else 105 for name in names}


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


def _scatter(across: str, up: str, *, kind: str = "METRIC") -> dict[str, Any]:
    return {"type": "SCATTER", "xaxis": {"key": across, "type": kind}, "yaxis": {"key": up, "type": "METRIC"}}


def _curves(metric: str) -> list[dict[str, Any]]:
    return [_line(metric), _line("val_loss" if metric == "loss" else "loss")]


def _parallel(metric: str) -> dict[str, Any]:
    return {
        "type": "PARALLEL",
        "selectedParams": ["batch_size", "learning_rate"],
        "selectedMetrics": [metric],
        "showAllRuns": True,
    }


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
