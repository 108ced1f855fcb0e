from __future__ import annotations

import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from processes import has_ended
from tracker_helpers import planned, told_later
from ui_process import UiProcess

from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.outbox import Reaction
from tuning.record.reading import read_study
from tuning.record.store import TrackingError, TrackingWarning, reaction_to
from tuning.record.ui import serve
from tuning.trial import EpochReport, Status, TrialOutcome


def log_trial(tracker: MlflowTracker, trial_id: str) -> None:
    tracker.start_trial(planned(trial_id, seed=int(trial_id)))
    tracker.epoch(EpochReport(trial_id, 1, 100, 12, {"loss": 0.5}, 1.0))
    tracker.end_trial(TrialOutcome(trial_id, Status.FAILED, "as planned", log_tail="the end"))


def test_a_study_survives_a_server_that_is_stopped_and_started_again(
    tracking_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    MlflowTracker(tracking_uri).start_study("digits", {"objective": "loss"})
    with UiProcess(tracking_uri) as ui:
        tracker = MlflowTracker(ui.server)
        tracker.start_study("digits", {"objective": "loss"})
        log_trial(tracker, "0")
        tracker.close()
        assert serve(ui.server) == 0
        assert capsys.readouterr().out.strip() == ui.url  # of a server, the address is all there is to give
        children = psutil.Process(ui.process.pid).children(recursive=True)
        assert ui.stop() == 0
        assert psutil.wait_procs(children, timeout=10)[1] == []
    with told_later():
        log_trial(tracker, "1")
    with pytest.warns(TrackingWarning, match=r"does not answer; it may lack trial 1\. .* the same search again"):
        tracker.close()
    with UiProcess(tracking_uri, ui.port):
        tracker.close()
        tracker.recommended({}, "8", {"report.html": "<p>8"})
        tracker.close()
        assert [trial.seed for trial in read_study(ui.server, "digits").trials] == [0, 1]
        client = MlflowClient(ui.server)
        runs = client.search_runs([tracker.experiment_id])
        assert sorted(file.path for run in runs for file in client.list_artifacts(run.info.run_id)) == [
            "log_tail.txt",
            "log_tail.txt",
            "recommendation.json",
            "report.html",
            "report.md",
        ]
    assert capsys.readouterr().out == ""


def test_a_server_that_goes_away_is_recognised_by_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # What `reaction_to` relies on in mlflow 3.17: the exception of requests is the context of MLflow's own.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    client = MlflowClient("http://127.0.0.1:9")
    with pytest.raises(MlflowException, match=r"API request") as caught:
        client.search_experiments()
    assert reaction_to(caught.value) is Reaction.WAIT


def test_a_missing_store_or_study_is_refused_before_a_server_starts(tmp_path: Path, tracking_uri: str) -> None:
    with pytest.raises(TrackingError, match=r"There is no MLflow store at"):
        serve(f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(TrackingError, match=r"There is no MLflow experiment 'digits'; there are: 'Default'"):
        serve(tracking_uri, "digits")


def test_a_port_that_is_taken_is_refused(tracking_uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TrackingError, match=rf"cannot listen on 127.0.0.1, port {port} .* Choose another --port"):
            serve(tracking_uri, "Default", port=port)


@pytest.mark.parametrize("moment", ["Popen", "_healthy", "_address"])
def test_ctrl_c_ends_the_server_whenever_it_comes(
    moment: str, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[subprocess.Popen[bytes]] = []
    children: list[psutil.Process] = []

    def at(name: str) -> None:
        if name == moment:
            signal.raise_signal(signal.SIGINT)

    def start(*_: object, **options: object) -> subprocess.Popen[bytes]:
        servers.append(real(["sh", "-c", "sleep 100 & echo; wait"], start_new_session=True, stdout=subprocess.PIPE))
        with servers[-1].stdout as pipe:
            pipe.readline()
        children.extend(psutil.Process(servers[-1].pid).children())
        at("Popen")
        return servers[-1]

    real = subprocess.Popen
    monkeypatch.setattr("tuning.record.ui.subprocess.Popen", start)
    monkeypatch.setattr("tuning.record.ui._healthy", lambda *_: at("_healthy") or True)
    monkeypatch.setattr("tuning.record.ui._address", lambda *_: at("_address") or "")
    assert serve(tracking_uri, "Default") == 0
    assert [server.poll() for server in servers] == [-signal.SIGTERM]
    assert [has_ended(child) for child in children] == [True]
