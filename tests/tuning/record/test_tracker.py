"""Every tracker passes the contract."""

from __future__ import annotations

import pytest
from fakes import RecordingTracker
from tracker_contract import TrackerContract

from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.tracker import NullTracker, Tracker


class TestMlflowTracker(TrackerContract):
    @pytest.fixture
    def tracker(self, tracking_uri: str) -> Tracker:
        return MlflowTracker(tracking_uri)


class TestNullTracker(TrackerContract):
    keeps = False

    @pytest.fixture
    def tracker(self) -> Tracker:
        return NullTracker()


class TestRecordingTracker(TrackerContract):
    @pytest.fixture
    def tracker(self) -> Tracker:
        return RecordingTracker()
