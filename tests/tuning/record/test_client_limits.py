"""MLflow's client waits no longer than told, and what the user has set stays."""

from __future__ import annotations

import logging
import os

import pytest

from tuning.record.mlflow_private import client_limits


def test_the_client_is_bounded_only_inside_and_yields_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    level = logging.getLogger("mlflow.store.db.utils").level
    with client_limits(timeout_s=4, retries=1):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert logging.getLogger("mlflow.store.db.utils").level == level
