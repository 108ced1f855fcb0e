"""What MLflow lacks of a study is delivered before somebody asks MLflow, and when the search goes on or starts over."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import RecordingTracker, ScriptedExecutor
from fakes_mlflow import SERVER, FlakyClient, flaky_trackers
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

import tuning
from search_spaces import BatchSize, Data
from tuning.cli import main
from tuning.record import layout
from tuning.record.owed import FOLDER
from tuning.record.store import TrackingError, TrackingWarning
from tuning.search.delivery import relog
from tuning.search.options import SearchArguments
from tuning.study.claim import StudyLock
from tuning.study.storage import STORAGE_VARIABLE
from tuning.trial import Status, TrialOutcome

pytestmark = pytest.mark.usefixtures("no_advice")
STUDY = Path("batch_size_studies", "mine")
Curves = dict[str, list[tuple[int, float]]]


@pytest.fixture
def store(tmp_path: Path, mlflow_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The default store of the directory that the test works in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv(STORAGE_VARIABLE, raising=False)
    monkeypatch.setattr("tuning.search.answering.render_report", lambda _: "<p>8")  # takes a second
    return mlflow_store(tmp_path)


@pytest.fixture
def flaky(store: str, monkeypatch: pytest.MonkeyPatch) -> type[FlakyClient]:
    return flaky_trackers(monkeypatch)


def search(when_trained: Callable[[int], object] = lambda _: None, **options: Any) -> tuning.GridSearch:
    """Search with a script, which tells of each trial before it is trained."""
    executor = ScriptedExecutor(lambda trial: when_trained(trial.seed) or [0.5, 0.6 + 0.01 * trial.seed])
    tuner = tuning.GridSearch(
        lambda: None,
        batch_size=BatchSize.of(8),
        seeds=3,
        probe=False,
        directory=STUDY.parent,
        project_name=STUDY.name,
        quiet=True,
        **options,
    )
    x = np.zeros((64, 2), "float32")
    tuner.run(SearchArguments(Data(x, x[:, 0], x, x[:, 0]), epochs=2, verbose=False), executor)
    return tuner


def search_with_an_outage(flaky: type[FlakyClient], **options: Any) -> tuning.GridSearch:
    """Search while the server goes away before the second trial; it is back afterwards."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TrackingWarning)
        tuner = search(lambda seed: setattr(flaky, "gone", seed > 0), **options)
    flaky.gone = False
    told = str(caught[-1].message)
    assert re.search(r"may lack .*trial 000[012].*Nothing is lost: the next `batch-size pick`, `report` or `ui`", told)
    return tuner


def recorded(uri: str, study: str = "mine") -> Curves:
    """The curve of every run that has ended, by trial or stage."""
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name(study).experiment_id])
    return {
        run.data.tags.get(layout.TRIAL_ID, run.data.tags[layout.STAGE]): [
            (point.step, point.value) for point in client.get_metric_history(run.info.run_id, "val_accuracy")
        ]
        for run in found
        if run.info.status == "FINISHED"
    }


def all_runs(uri: str, study: str = "mine") -> list[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study)
    return list(client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL))


def studied(tuner: tuning.GridSearch) -> Curves:
    curves = {
        trial.trial_id: list(zip(*trial.curve("val_accuracy"), strict=True)) for trial in tuner.oracle.study.records
    }
    return {**curves, "recommendation": []}


@pytest.mark.parametrize("command", ["pick", "ui"])  # a report reads as a pick does
def test_what_is_owed_is_delivered_before_mlflow_is_asked(
    store: str,
    flaky: type[FlakyClient],
    command: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tuner = search_with_an_outage(flaky)
    assert recorded(store).keys() < studied(tuner).keys()
    monkeypatch.setattr("tuning.record.ui.serve", lambda *_, **__: 0)
    assert main([command]) == 0
    assert "Delivered what MLflow lacked of 'mine' (runs: " in capsys.readouterr().err
    assert recorded(store) == studied(tuner)
    assert not (STUDY / FOLDER).exists()
    assert main([command]) == 0
    assert "Delivered" not in capsys.readouterr().err


def test_a_search_that_goes_on_delivers_what_is_owed(store: str, flaky: type[FlakyClient]) -> None:
    search_with_an_outage(flaky)
    tuner = search()
    assert recorded(store) == studied(tuner)
    assert not (STUDY / FOLDER).exists()


def test_a_search_that_starts_over_delivers_what_is_owed_of_the_earlier_one(
    store: str, flaky: type[FlakyClient]
) -> None:
    tuner = search_with_an_outage(flaky)
    search(overwrite=True)
    names = [each.name for each in MlflowClient(store).search_experiments() if each.name.startswith("mine (until")]
    assert [recorded(store, name) for name in names] == [studied(tuner)]


def test_a_search_may_start_over_where_the_earlier_one_cannot_be_read(store: str, flaky: type[FlakyClient]) -> None:
    search_with_an_outage(flaky)
    (STUDY / "study.journal").unlink()
    tuner = search(overwrite=True)
    assert recorded(store) == studied(tuner)
    assert not (STUDY / FOLDER).exists()


@pytest.mark.parametrize("back", [-1, 1, None])
def test_a_search_begins_without_its_server_and_what_it_records_is_delivered(
    store: str, flaky: type[FlakyClient], monkeypatch: pytest.MonkeyPatch, back: int | None
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
    flaky.behind, flaky.gone = store, True
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TrackingWarning)
        tuner = search(lambda seed: setattr(flaky, "gone", flaky.gone and seed != back))
    assert "does not answer; the search starts all the same" in str(caught[0].message)
    assert tuner.answer.recommendation.batch_size == 8
    if back is None:
        assert re.search(
            r"it may lack .*trial 0000.*Nothing is lost: the next `batch-size pick`", str(caught[-1].message)
        )
        assert MlflowClient(store).get_experiment_by_name("mine") is None
    flaky.gone = False
    assert main(["pick", "mine"]) == 0
    assert recorded(store) == studied(tuner)
    assert not (STUDY / FOLDER).exists()


def test_a_search_goes_on_without_its_server(
    store: str, flaky: type[FlakyClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
    flaky.behind = store
    search()
    flaky.gone = True
    with pytest.warns(TrackingWarning):
        tuner = search()
    flaky.gone = False
    assert main(["pick", "mine"]) == 0
    assert recorded(store) == studied(tuner)
    assert len(all_runs(store)) == 4 + 1  # the earlier recommendation is in the trash


def test_nothing_is_started_over_while_something_is_owed_to_a_server_that_is_away(
    store: str, flaky: type[FlakyClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
    flaky.behind, flaky.gone = store, True
    with pytest.warns(TrackingWarning):
        tuner = search()
    with pytest.warns(TrackingWarning), pytest.raises(TrackingError, match=r"does not answer: no connection"):
        search(overwrite=True)
    flaky.gone = False
    assert main(["pick", "mine"]) == 0
    assert recorded(store) == studied(tuner)


def test_what_a_killed_driver_left_is_delivered(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tuning.record.mlflow_tracker.MlflowTracker.close", lambda *_, **__: None)
    monkeypatch.setattr("tuning.record.outbox.Outbox.owe", lambda *_: None)  # killed before it was written
    tuner = search()
    monkeypatch.undo()
    monkeypatch.chdir(Path(store.removeprefix("sqlite:///")).parent)
    assert recorded(store) == {}
    assert main(["pick"]) == 0
    assert "(runs: 4)" in capsys.readouterr().err
    assert recorded(store) == studied(tuner)


def test_a_search_that_delivers_everything_owes_nothing(store: str) -> None:
    tuner = search()
    assert recorded(store) == studied(tuner)
    assert not (STUDY / FOLDER).exists()


def test_a_refused_run_is_delivered_once_it_is_taken(store: str, flaky: type[FlakyClient]) -> None:
    flaky.refuses = "val_accuracy"
    with pytest.warns(TrackingWarning, match=r"refused trial 0000, trial 0001, trial 0002; the first: no val_accuracy"):
        tuner = search()
    assert recorded(store) == {"recommendation": []}
    flaky.refuses = ""
    assert main(["pick"]) == 0
    assert recorded(store) == studied(tuner)


def test_a_study_that_a_search_is_running_is_not_delivered_by_another(
    store: str, flaky: type[FlakyClient], capsys: pytest.CaptureFixture[str]
) -> None:
    search_with_an_outage(flaky)
    lock = StudyLock(STUDY)
    before = recorded(store)
    main(["pick"])
    lock.close()
    told = capsys.readouterr().err
    assert "MLflow may lack some of 'mine', which cannot be delivered now: A study is run by one process" in told
    assert recorded(store) == before


def test_what_is_owed_to_one_store_is_not_delivered_to_another(
    store: str, flaky: type[FlakyClient], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search_with_an_outage(flaky)
    (tmp_path / "mlflow.db").rename(tmp_path / "moved.db")
    main(["pick", "mine", "--tracking-uri", "sqlite:///moved.db"])
    told = capsys.readouterr().err
    assert f"is owed to {store}, not to sqlite:///{tmp_path}/moved.db. Give --tracking-uri." in told
    assert (STUDY / FOLDER).exists()


def test_a_study_in_another_storage_needs_its_address(
    store: str, flaky: type[FlakyClient], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tuner = search_with_an_outage(flaky, storage="sqlite:///optuna.db")
    main(["pick"])
    assert f"set {STORAGE_VARIABLE} to its storage" in capsys.readouterr().err
    monkeypatch.setenv(STORAGE_VARIABLE, "sqlite:///optuna.db")
    assert main(["pick"]) == 0
    assert recorded(store) == studied(tuner)


def test_a_server_that_hangs_holds_up_no_search(
    store: str, flaky: type[FlakyClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = []

    def close(self: Any, *, patience_s: float | None = None) -> None:
        asked.append(patience_s)
        self._thread.stop()
        flaky.released.set()

    monkeypatch.setattr("tuning.record.mlflow_tracker.MlflowTracker.close", close)
    flaky.hangs = True
    tuner = search()  # would never end if it waited for a write
    assert tuner.answer.recommendation.batch_size == 8
    assert asked == [None]


def test_an_interrupted_trial_is_logged_unless_mlflow_knows_more_of_it(store: str) -> None:
    study = search().oracle.study
    ended = next(iter(study.records))
    study.records.put(
        replace(ended, outcome=TrialOutcome(ended.trial_id, Status.INTERRUPTED), reports=ended.reports[:1])
    )
    tracker = RecordingTracker()
    assert relog(study, tracker) == 3
    assert tracker.reconciled == ({"0001", "0002"}, {"0000"})
    assert [len(tracker.epochs[trial_id]) for trial_id in ("0000", "0001", "0002")] == [1, 2, 2]
