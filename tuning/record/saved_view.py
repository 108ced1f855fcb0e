"""The saved view of a study, and the page of MLflow that opens at it."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import URLError
from urllib.parse import quote

from mlflow.entities import Experiment

from tuning.record import experiments, layout
from tuning.record.reading import latest_study
from tuning.record.store import TrackingError, answers, connect, is_server, resolve_tracking_uri, sqlite_path

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
        "searchFilter": f"params.batch_size != '' and tags.`{layout.STAGE}` != '{layout.MEASUREMENT}'",
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


_START_S = 90.0  # a cold start took 6 s on 2 cores, three times that on a loaded machine
_STOP_S = 10.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def serve(
    tracking_uri: str | None, study: str | None = None, *, host: str = "127.0.0.1", port: int | None = None
) -> int:
    """Start MLflow's server on the store, print the address of the study's view, and go on until Ctrl-C.

    Of a store that is a server already, only the address is printed.

    Args:
        tracking_uri: As `resolve_tracking_uri` takes it.
        study: The study to open; None for the one written to last.
        host: The address to listen on. Any other than this machine's own lets others read and change the store.
        port: The port to listen on; None finds a free one.

    Returns:
        0, the exit status.

    Raises:
        TrackingError: If the store or the study does not exist, the port is taken, or the server does not start.
    """
    uri = resolve_tracking_uri(tracking_uri)
    name = study or latest_study(uri)
    with answers(uri):
        experiment = experiments.find_experiment(connect(uri), name)
    if is_server(uri):
        print(_address(uri, experiment), flush=True)
        return 0
    with _as_ctrl_c(signal.SIGTERM), _server(uri, host, _open_port(host, port)) as (process, address):
        print(_address(address, experiment), flush=True)
        print("MLflow's UI is open there until Ctrl-C.", file=sys.stderr, flush=True)
        try:
            process.wait()
        except KeyboardInterrupt:
            return 0
    raise TrackingError(f"MLflow's server has ended by itself (exit status {process.returncode}). Start it again.")


def _address(server: str, experiment: Experiment) -> str:
    if TAG in experiment.tags:
        return view_url(server, experiment.experiment_id)
    return f"{server}/#/experiments/{experiment.experiment_id}/runs"


@contextmanager
def _server(uri: str, host: str, port: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    reachable = _ANYWHERE.get(host, host)
    address = f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
    path = sqlite_path(uri)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"],
            cwd=path.parent if path else None,  # where the server looks for `mlartifacts`
            # The URI may hold a password, which every user of the machine could read from the command line. The job
            # workers, seven processes of 140 MB, serve features that a study does not use.
            env=os.environ | {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            if not _healthy(process, address):
                log.seek(0)
                said = log.read().decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
                raise TrackingError(f"MLflow's server on port {port} does not start; it said: {said[0]:.300}")
            yield process, address
        finally:
            _stop(process)


def _healthy(process: subprocess.Popen[bytes], address: str) -> bool:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return True
        except (URLError, OSError):
            time.sleep(0.2)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)  # the server keeps a worker process
        except ProcessLookupError:
            break
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _open_port(host: str, port: int | None) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port or 0))
        except OSError as error:
            raise TrackingError(
                f"MLflow's server cannot listen on {host}, port {port or 'any'} ({error.strerror}). "
                "Choose another --port or --host."
            ) from None
        return int(probe.getsockname()[1])


@contextmanager
def _as_ctrl_c(number: signal.Signals) -> Iterator[None]:
    """Let a polite request to end do what Ctrl-C does, so that the server does not outlive its parent."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return
    before = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, before)
