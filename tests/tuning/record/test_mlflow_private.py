"""Names that MLflow does not document, each against the installed MLflow."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import mlflow.environment_variables as environment
import pytest
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError, RetryError

from tuning.record import mlflow_private


@pytest.fixture(scope="module")
def page() -> str:
    """Everything that MLflow's page runs in the browser."""
    folder = Path(environment.__file__).parent / "server" / "js" / "build" / "static" / "js"
    return "\n".join(path.read_text() for path in folder.glob("*.js"))


def test_the_page_shows_the_note_or_else_a_study_shows_no_recommendation(page: str) -> None:
    assert mlflow_private.NOTE in page


def test_the_page_knows_the_kind_of_experiment_or_else_it_asks_for_it(page: str) -> None:
    ((tag, kind),) = mlflow_private.EXPERIMENT_KIND.items()
    assert tag in page
    assert kind in page


def test_the_page_knows_a_run_s_colour_or_else_statuses_have_none(page: str) -> None:
    assert mlflow_private.RUN_COLOR in page


def test_a_sqlite_store_has_the_table_or_else_none_is_taken_for_one(migrated_store: Path) -> None:
    with closing(sqlite3.connect(migrated_store)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert mlflow_private.STORE_TABLE in tables


def test_a_sqlite_store_tells_its_revision_or_else_each_new_one_is_migrated(migrated_store: Path) -> None:
    with closing(sqlite3.connect(migrated_store)) as connection:
        assert len(connection.execute(f"SELECT * FROM {mlflow_private.REVISION_TABLE}").fetchall()) == 1


def test_the_server_reads_its_environment_or_else_it_serves_another_store() -> None:
    given = mlflow_private.server_environment("sqlite:///x.db")
    assert given[environment.MLFLOW_SERVER_ENABLE_JOB_EXECUTION.name] == "false"
    command_line = (Path(environment.__file__).parent / "cli" / "__init__.py").read_text()
    assert 'envvar="MLFLOW_BACKEND_STORE_URI"' in command_line
    assert given["MLFLOW_BACKEND_STORE_URI"] == "sqlite:///x.db"


def test_the_client_reads_its_limits_or_else_a_lost_server_holds_the_search_for_minutes() -> None:
    with mlflow_private.client_limits(timeout_s=4, retries=1):
        assert environment.MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 4
        assert environment.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == 1
        assert not environment.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.get()


def test_the_loggers_exist_or_else_errors_that_are_raised_are_printed_too() -> None:
    for name in mlflow_private.ERROR_LOGGERS:
        source = Path(environment.__file__).parents[1] / f"{name.replace('.', '/')}.py"
        assert "logging.getLogger(__name__)" in source.read_text()


@pytest.mark.parametrize("kind", [ConnectionError, RetryError])
def test_an_answer_that_never_came_is_found_behind_mlflows_own_error(kind: type[Exception]) -> None:
    error = MlflowException("API request failed")
    error.__context__ = kind("refused")
    assert mlflow_private.is_unanswered(error)
    assert mlflow_private.is_unanswered(error, retried=False) == (kind is ConnectionError)
    assert not mlflow_private.is_unanswered(MlflowException("no such run"))


def test_the_sampling_of_the_machine_logs_there_or_else_its_beginning_is_printed() -> None:
    monitor = Path(environment.__file__).parent / "system_metrics" / "system_metrics_monitor.py"
    assert "_logger = logging.getLogger(__name__)" in monitor.read_text()
    filters = logging.getLogger(mlflow_private.SYSTEM_METRICS_LOGGER).filters
    assert any(isinstance(found, mlflow_private._OutsideBlocks) for found in filters)
