"""MLflow's client waits no longer than told, and what the user has set stays."""

from __future__ import annotations

import logging
import os
import threading

import pytest
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES as RETRIES
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT as TIMEOUT
from mlflow.tracking._tracking_service.client import TrackingServiceClient

from tuning.record.mlflow_private import ERROR_LOGGERS, LIMITED, MIGRATION_LOGGER, _without_links, client_limits


def test_the_client_is_bounded_only_inside_and_yields_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TIMEOUT.name, "77")
    monkeypatch.delenv(RETRIES.name, raising=False)
    usual, before = RETRIES.get(), dict(os.environ)
    with client_limits(timeout_s=4, retries=1):
        assert (TIMEOUT.get(), RETRIES.get()) == (77, 1)
        with client_limits(timeout_s=4, retries=0):
            assert RETRIES.get() == 0
        assert RETRIES.get() == 1
        assert dict(os.environ) == before
    assert RETRIES.get() == usual


def test_other_threads_are_not_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TIMEOUT.name, raising=False)
    usual, told = TIMEOUT.get(), []
    other = threading.Thread(target=lambda: told.append(TIMEOUT.get()))
    with client_limits(timeout_s=4, retries=1):
        other.start()
        other.join()
    assert told == [usual] != [4]


@pytest.mark.parametrize("name", [*ERROR_LOGGERS, MIGRATION_LOGGER])
def test_errors_that_are_raised_are_not_logged_inside(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with client_limits(timeout_s=4, retries=1):
        logging.getLogger(name).error("raised, too")
    logging.getLogger(name).error("outside")
    assert [record.message for record in caplog.records] == ["outside"]


def test_mlflow_can_be_kept_from_printing_links_or_they_stand_amid_the_output_of_json() -> None:
    has_variable = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT" in {variable.name for variable in LIMITED}
    assert has_variable or hasattr(TrackingServiceClient, "_log_url")


def test_links_of_ended_runs_are_not_printed_inside_by_an_mlflow_without_a_variable_for_it() -> None:
    shown: list[str] = []
    show = _without_links(lambda _, run_id: shown.append(run_id))
    with client_limits(timeout_s=4, retries=1):
        show(None, "inside")
    show(None, "outside")
    assert shown == ["outside"]
