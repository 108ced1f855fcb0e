"""A search on two kinds of device, one three times as slow: whose seconds decide, and where a trial may go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import RecordingTracker, ScriptedExecutor, device
from scripted_searches import arguments, curve, probes, tuner

import tuning
from search_spaces import BatchSize
from tuning.messages import Event, Request, Throughput
from tuning.plans.plan import Decision, GridPlan
from tuning.run.executor import Device, DeviceError
from tuning.search.placing import Placing, kind_to_measure
from tuning.stats.kinds import DEVICE_KIND, kind_of, kinds_of, of_kind
from tuning.trial import Status, Trial, TrialOutcome, finished_trial
from tuning.tuner import BatchSizeTuner

FAST, SLOW = "Fast 1", "Slow 3"
QUICK = {FAST: 1.0, SLOW: 3.0}


class TwoKinds(ScriptedExecutor):
    """Devices of two kinds; the slow one takes three times as long for an update, and more for a large batch."""

    def __init__(self, script: Any = curve, kinds: tuple[str, ...] = (FAST, SLOW)) -> None:
        devices = [device(f"ray:{number}", kind=kind) for number, kind in enumerate(kinds)]
        super().__init__(script, devices=devices, probes=self._probed)
        self._kind = ""
        self.timed: list[str] = []

    def submit(self, request: Trial | Request, device: str) -> None:
        self._kind = self._devices[device].kind
        super().submit(request, device)

    def _probed(self, request: Any) -> Event:
        answer = probes(request)
        if not isinstance(answer, Throughput):
            return answer
        self.timed.append(self._kind)
        size = request.batch_size if self._kind == SLOW else 0
        return replace(answer, seconds_per_update=QUICK[self._kind] * answer.seconds_per_update + 1e-4 * size)


def searched(directory: Path, executor: TwoKinds, **options: Any) -> tuple[tuning.GridSearch, RecordingTracker]:
    tracker = RecordingTracker()
    grid = tuning.GridSearch(
        lambda: None,
        "val_accuracy",
        batch_size=BatchSize.of(16, 64, 256),
        seeds=2,
        probe=False,
        directory=directory,
        project_name="s",
        tracker=tracker,
        engine="ray",
        **options,
    )
    grid.run(arguments(), executor)
    return grid, tracker


def rates(searched: BatchSizeTuner) -> dict[int, float]:
    """The examples per second by which an answer was found."""
    return {row.batch_size: row.examples_per_second or 0.0 for row in searched.answer.recommendation.table}


def rate_of(kind: str, size: int) -> float:
    """What one kind of device alone does."""
    return size / (QUICK[kind] * (1e-3 + 1e-5 * size) + (1e-4 * size if kind == SLOW else 0))


def rates_of(kind: str) -> dict[int, float]:
    return {size: rate_of(kind, size) for size in (16, 64, 256)}


def test_an_answer_holds_for_the_kind_of_most_trials_and_tells_of_the_others(tmp_path: Path) -> None:
    executor = TwoKinds(kinds=(SLOW, FAST, FAST))
    grid, tracker = searched(tmp_path, executor)
    counts = kinds_of(grid.oracle.study.records)
    assert counts[FAST] > counts[SLOW] > 0
    assert rates(grid) == pytest.approx(rates_of(FAST))
    assert grid.answer.device_kind == FAST
    assert tracker.settings[DEVICE_KIND] == FAST
    caveats = grid.answer.recommendation.caveats
    assert any(f"The answer holds for {FAST}, which ran {counts[FAST]} of the 6 trials" in told for told in caveats)
    (line,) = (told for told in caveats if told.startswith(f"On {SLOW}, which ran {counts[SLOW]} trials: batch size "))
    size = int(line.split("batch size ")[1].split(",")[0])
    assert line.endswith(f", {rates_of(SLOW)[size]:,.0f} examples per second.")


def test_the_kind_that_is_asked_for_decides(tmp_path: Path) -> None:
    grid, _ = searched(tmp_path, TwoKinds(kinds=(FAST, FAST, SLOW)), device_kind=SLOW)
    assert grid.answer.device_kind == SLOW
    assert rates(grid) == pytest.approx(rates_of(SLOW))
    memory = [row.peak_memory_bytes for row in grid.recommend().table]  # of the trials on that kind alone
    ran_there = {trial.batch_size for trial in grid.oracle.study.records if kind_of(trial) == SLOW}
    assert [size in ran_there for size in (16, 64, 256)] == [value is not None for value in memory]


def test_a_staged_search_answers_for_the_kind_by_whose_seconds_it_has_decided(tmp_path: Path) -> None:
    executor = TwoKinds(kinds=(SLOW, FAST, FAST))
    staged = tuner("tune", tmp_path)
    staged.run(arguments(), executor)
    counts = kinds_of(staged.oracle.study.records)
    assert counts[FAST] > counts[SLOW] > 0
    assert staged.answer.device_kind == SLOW
    assert all(rate <= 1.01 * rate_of(SLOW, size) for size, rate in rates(staged).items() if rate)
    assert any(told.startswith(f"On {FAST}, which ran") for told in staged.answer.recommendation.caveats)


def test_each_kind_is_measured_once(tmp_path: Path) -> None:
    first = TwoKinds()
    grid, _ = searched(tmp_path, first)
    by_sizes = {kind: sum(timed == kind for timed in first.timed) for kind in (FAST, SLOW)}
    assert by_sizes[FAST] >= 3
    assert by_sizes[SLOW] >= 3
    again = TwoKinds(kinds=(SLOW, FAST))
    other, _ = searched(tmp_path, again)
    assert [request for request in again.probed if request.trial_id.startswith("seconds-")] == []
    assert rates(other) == rates(grid)
    assert other.answer.device_kind == grid.answer.device_kind


def test_one_kind_alone_is_not_made_a_matter_of(tmp_path: Path) -> None:
    grid, tracker = searched(tmp_path, TwoKinds(kinds=(FAST, FAST)))
    assert grid.answer.device_kind == ""
    assert DEVICE_KIND not in tracker.settings
    assert not any("holds for" in told for told in grid.answer.recommendation.caveats)


def test_a_kind_that_has_gone_untimed_is_told_so(tmp_path: Path) -> None:
    executor = TwoKinds(kinds=(FAST, FAST, SLOW))

    def script(trial: Trial) -> list[float]:
        if trial.trial_id == "0005":
            executor.leave("ray:2")
        return curve(trial)

    executor._script = script
    grid, _ = searched(tmp_path, executor)
    assert rates(grid) == pytest.approx(rates_of(FAST))
    assert any("nothing was timed there alone" in told for told in grid.answer.recommendation.caveats)


def test_what_does_not_fit_on_another_kind_runs_on_the_searchs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[Decision] = []
    ask = GridPlan.next
    monkeypatch.setattr(GridPlan, "next", lambda plan, records: named.append(ask(plan, records)) or named[-1])

    def script(trial: Trial) -> TrialOutcome | list[float]:
        if executor._kind == SLOW and trial.batch_size >= 64:
            return TrialOutcome(trial.trial_id, Status.OUT_OF_MEMORY, reason="no room")
        return curve(trial)

    executor = TwoKinds(script)
    grid, _ = searched(tmp_path, executor, device_kind=FAST)
    trials = list(grid.oracle.study.records)
    assert sum(trial.scored for trial in trials) == 6
    assert sum(isinstance(decision, Trial) for decision in named) == 6  # a trial that waits is not planned again
    assert {kind_of(trial) for trial in trials if trial.scored and trial.batch_size >= 64} == {FAST}
    lost = [trial for trial in trials if trial.status is Status.LOST]
    assert lost
    assert len(lost) <= 2  # at the first such size, and at a smaller one that was not known then
    assert "does not fit on Slow 3, and runs again on Fast 1: no room" in lost[0].reason


def test_out_of_memory_on_the_searchs_own_kind_is_final() -> None:
    own, other = device("ray:0", kind=FAST), device("ray:1", kind=SLOW)
    placing, trial = Placing(FAST), finished_trial(64, 0, None)
    full = TrialOutcome("", Status.OUT_OF_MEMORY)
    assert placing.judged(full, trial, own, (own, other)).status is Status.OUT_OF_MEMORY
    assert placing.judged(full, trial, other, (other,)).status is Status.OUT_OF_MEMORY
    assert placing.device_for(trial, (other,), (own, other)) == other
    assert placing.judged(full, trial, other, (own, other)).status is Status.LOST
    assert placing.device_for(trial, (other,), (own, other)) is None
    assert placing.device_for(trial, (other, own), (own, other)) == own
    assert placing.device_for(trial, (other,), (other,)) == other
    assert placing.device_for(finished_trial(32, 0, None), (other,), (own, other)) == other


def kind_measured(there: list[Device], asked: str | None, before: str | None) -> str:
    return kind_to_measure(ScriptedExecutor(devices=there), asked, before)


def test_a_search_goes_on_measuring_the_kind_that_it_has_measured() -> None:
    both = [device("ray:0", kind=FAST), device("ray:1", kind=SLOW)]
    assert kind_measured(both, None, None) == FAST
    assert kind_measured(both, None, SLOW) == SLOW
    assert kind_measured(both[:1], None, SLOW) == FAST
    assert kind_measured(both, SLOW, FAST) == SLOW


def test_a_kind_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_comes(*_: Any) -> Device:
        raise DeviceError("none")

    monkeypatch.setattr("tuning.search.placing.first_device", none_comes)
    with pytest.raises(DeviceError, match="of a device that is there, of Fast 1; got 'Elsewhere 9'"):
        kind_measured([device(kind=FAST)], "Elsewhere 9", None)


def test_trials_of_another_kind_keep_their_scores_and_lose_their_clocks() -> None:
    here, there = (
        finished_trial(8, seed, 0.5, seconds=2.0, peak_memory_bytes=7, settings={DEVICE_KIND: kind})
        for seed, kind in enumerate((FAST, SLOW))
    )
    first, second = of_kind([here, there], FAST)
    assert first == here
    assert second.score == 0.5
    assert second.outcome is not None
    assert (second.outcome.seconds, second.outcome.peak_memory_bytes) == (None, None)
    assert of_kind([here, there], "") == [here, there]
