"""An MLflow whose server goes away, refuses or asks for another password, as a test wants it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND, INVALID_PARAMETER_VALUE, UNAUTHENTICATED
from requests.exceptions import ConnectionError

_OPENING = ("search_experiments", "get_experiment_by_name", "create_experiment", "get_experiment", "search_runs")
CALLS = (*_OPENING, "rename_experiment", "set_experiment_tag", "create_run", "log_batch", "log_text", "set_terminated")
CALLS += ("log_artifacts", "delete_run")
SERVER = "http://mlflow.example:5000"


class FlakyClient(MlflowClient):
    """A client whose server can be taken away, also after it has done what it was asked, or refuses what it is told.

    `SERVER` is a server on the store `behind`.
    """

    behind = ""
    gone = False
    answers_get_lost = False
    denies = False
    is_something_else = False
    takes_no_metrics = False
    refuses = ""
    artifacts_are_closed = False
    hangs = False
    released = threading.Event()

    def __init__(self, uri: str) -> None:
        super().__init__(type(self).behind if uri == SERVER else uri)

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name not in CALLS:
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            self.fail_before(name, kwargs)
            answer = method(*args, **kwargs)
            if type(self).answers_get_lost:
                self.fail()
            return answer

        return call

    def fail_before(self, name: str, written: Mapping[str, Any]) -> None:
        kind, metrics = type(self), [metric.key for metric in written.get("metrics", ())]
        if kind.hangs and name not in _OPENING:
            kind.released.wait(60)
        if kind.gone or (kind.takes_no_metrics and metrics):
            self.fail()
        if kind.denies:
            raise MlflowException("who are you", error_code=UNAUTHENTICATED)
        if kind.is_something_else:
            raise MlflowException("no such page", error_code=ENDPOINT_NOT_FOUND)
        if kind.refuses in metrics:
            raise MlflowException(f"no {kind.refuses}", error_code=INVALID_PARAMETER_VALUE)
        if kind.artifacts_are_closed and name == "log_text":
            raise PermissionError("/mlartifacts")

    def fail(self) -> None:
        try:
            raise ConnectionError("connection refused")
        except ConnectionError:
            raise MlflowException("API request failed") from None


def flaky_trackers(monkeypatch: pytest.MonkeyPatch) -> type[FlakyClient]:
    """Let trackers that are made from now on use such a client, and pause for milliseconds."""
    from tuning.record import mlflow_tracker, store
    from tuning.record.outbox import Outbox

    class ThisTestsClient(FlakyClient):
        released = threading.Event()

    monkeypatch.setattr(store, "MlflowClient", ThisTestsClient)
    monkeypatch.setattr(mlflow_tracker, "Outbox", partial(Outbox, first_pause_s=0.002, longest_pause_s=0.01))
    return ThisTestsClient
