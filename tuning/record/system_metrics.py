"""The load of the driver's machine while a trial trains: MLflow's system metrics, where MLflow's own switch is on."""

from __future__ import annotations

import inspect
from typing import Protocol, cast


class Monitor(Protocol):
    """Samples the machine in a thread of its own, until it is finished."""

    def finish(self) -> None:
        """End."""
        ...


def monitor_of(tracking_uri: str, run_id: str) -> Monitor | None:
    """Return a monitor that has started to write into a run, or None where none is asked for.

    `MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING=true`, or `mlflow.enable_system_metrics_logging()`, asks for it. MLflow takes
    a sample every ten seconds (`MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL`), so that shorter trials have none.

    Args:
        tracking_uri: The store.
        run_id: The run.
    """
    from mlflow import environment_variables as environment

    if not environment.MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():  # type: ignore[no-untyped-call]
        return None
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    if "tracking_uri" not in inspect.signature(SystemMetricsMonitor).parameters:
        return None  # MLflow 3.4 and older write to no store but the one that is set for the whole process
    monitor = SystemMetricsMonitor(run_id, tracking_uri=tracking_uri)  # type: ignore[no-untyped-call]
    monitor.start()  # type: ignore[no-untyped-call]
    return cast(Monitor, monitor)
