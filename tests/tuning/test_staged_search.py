"""The staged search as a tuner: scripted workers, a real Optuna study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import RecordingTracker, ScriptedExecutor
from scripted_searches import arguments, curve, probes

import tuning
from tuning.search.loop import Deadline
from tuning.show.page import ReportWarning
from tuning.trial import Trial, TrialOutcome


def tuner(directory: Path, tracker: RecordingTracker, **options: Any) -> tuning.StagedSearch:
    return tuning.StagedSearch(
        lambda: None, "val_accuracy", directory=directory, project_name="s", tracker=tracker, **options
    )


ARGUMENTS = arguments()


def test_a_staged_search_ends_in_a_recommendation_judged_by_time_to_the_target(tmp_path: Path) -> None:
    executor, tracker = ScriptedExecutor(curve, probes=probes), RecordingTracker()
    staged = tuner(tmp_path, tracker)
    staged.run(ARGUMENTS, executor)
    found = staged.answer.recommendation
    assert found.cost == "seconds to the target"
    assert found.batch_size in (32, 64, 128)
    assert tracker.settings["judged_by_target"] in found.reasons[1]
    assert {trial.stage for trial in tracker.trials.values()} == {"reference", "search", "confirm"}
    assert tracker.measurements.keys() == {"updates", "noise"}
    assert tracker.measurements["noise"].series == (
        ("noise_scale", 50.0, 0),
        ("noise_scale_low", 40.0, 0),
        ("noise_scale_high", 60.0, 0),
        ("gradient_norm", 1.0, 0),
        ("gradient_noise", 1.0, 0),
    )
    assert any("reached on 3 seeds" in caveat for caveat in found.caveats)
    assert any("those of plain model.fit" in caveat for caveat in found.caveats)


def test_a_search_that_goes_on_measures_nothing_again(tmp_path: Path) -> None:
    first, tracker = ScriptedExecutor(curve, probes=probes), RecordingTracker()
    tuner(tmp_path, tracker).run(ARGUMENTS, first)
    again = ScriptedExecutor(probes=probes)
    resumed = tuner(tmp_path, tracker)
    resumed.run(ARGUMENTS, again)
    assert again.requests == []
    assert {request.trial_id for request in again.probed} <= {"throughput-keras", "throughput-device"}  # the advice
    assert resumed.answer.recommendation.batch_size == staged_size(tracker)


def staged_size(tracker: RecordingTracker) -> int:
    return int(tracker.recommendation["recommended_batch_size"])


@pytest.mark.parametrize("at", [0, 6, 9, 20, 30])
def test_ctrl_c_at_any_stage_is_gone_on_from(tmp_path: Path, at: int) -> None:
    whole = ScriptedExecutor(curve, probes=probes)
    tuner(tmp_path / "whole", RecordingTracker()).run(ARGUMENTS, whole)

    def interrupted(request: Trial) -> list[float]:
        if len(executor.requests) > at:
            raise KeyboardInterrupt
        return curve(request)

    executor, tracker = ScriptedExecutor(interrupted, probes=probes), RecordingTracker()
    with pytest.raises(KeyboardInterrupt):
        tuner(tmp_path / "cut", tracker).run(ARGUMENTS, executor)
    second = ScriptedExecutor(curve, probes=probes)
    tuner(tmp_path / "cut", tracker).run(ARGUMENTS, second)
    ran = [*executor.requests[:-1], *second.requests]
    assert [key(request) for request in ran] == [key(request) for request in whole.requests]


def key(request: Trial) -> tuple[Any, ...]:
    return request.batch_size, request.learning_rate, request.seed, request.budget


def test_when_the_time_is_up_the_answer_is_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = ScriptedExecutor(curve, probes=probes)
    monkeypatch.setattr(Deadline, "is_past", property(lambda _: len(executor.requests) >= 12))
    staged = tuner(tmp_path, RecordingTracker(), timeout_s=1000.0)
    staged.run(ARGUMENTS, executor)
    assert staged.answer.recommendation.trials["completed"] < 20


def test_what_cannot_be_timed_is_refused_with_its_reason(tmp_path: Path) -> None:
    from tuning.trial import Status

    def broken(request: Any) -> TrialOutcome:
        return TrialOutcome(request.trial_id, Status.FAILED, reason="the model cannot be trained")

    with pytest.raises(ValueError, match="the model cannot be trained"):
        tuner(tmp_path, RecordingTracker()).run(ARGUMENTS, ScriptedExecutor(probes=broken))


def test_what_stages_cannot_honour_is_refused() -> None:
    with pytest.raises(TypeError, match="takes no max_trials"):
        tuning.StagedSearch(lambda: None, max_trials=3)
    with pytest.raises(ValueError, match="no batch size beyond memory"):
        tuning.StagedSearch(lambda: None, accumulate=True)
    with pytest.raises(ValueError, match="first_seed must be at least 0; got -1"):
        tuning.StagedSearch(lambda: None, first_seed=-1)


def test_a_report_that_cannot_be_drawn_costs_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Any) -> str:
        raise ValueError("no such figure")

    monkeypatch.setattr("tuning.search.answering.render_report", fails)
    tracker = RecordingTracker()
    tracker.tracking_uri = f"sqlite:///{tmp_path / 'nothing.db'}"
    staged = tuner(tmp_path, tracker)
    with pytest.warns(ReportWarning, match="could not be drawn: ValueError: no such figure"):
        staged.run(ARGUMENTS, ScriptedExecutor(curve, probes=probes))
    assert staged.answer.recommendation.batch_size in (32, 64, 128)
    assert tracker.recommendation
