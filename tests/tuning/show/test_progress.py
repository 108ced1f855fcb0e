from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from search_spaces import Setting
from tuning.objective import Objective
from tuning.show.answer import Answer
from tuning.show.progress import SearchProgress
from tuning.stats.recommendation import recommend
from tuning.trial import Budget, EpochReport, Status, Trial, TrialOutcome, finished_trial

OBJECTIVE = Objective("val_accuracy")


def record(size: int, score: float | None, status: Status = Status.COMPLETED, reason: str = "") -> Trial:
    outcome = TrialOutcome("t", status, reason=reason, examples_per_second=1234.5)
    return Trial(Setting(size, 0.001), 0, budget=Budget(2), trial_id="t", outcome=outcome, score=score)


def shown(*ended: Trial, terminal: bool, earlier: tuple[Trial, ...] = ()) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    progress = SearchProgress(3, earlier, objective=OBJECTIVE, console=console)
    with progress:
        for one in ended:
            progress.started(one, "cpu:0")
            progress.reported(EpochReport("t", 1, 10, 1, {}, 0.1))
            progress.ended(one)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_every_trial_is_a_line() -> None:
    told = shown(record(8, 0.5), record(32, None, Status.FAILED, "boom"), terminal=False)
    assert told.splitlines() == [
        "[1/3] batch 8 lr 0.001 seed 0: val_accuracy 0.5, 1,234 examples/s",
        "[2/3] batch 32 lr 0.001 seed 0: failed: boom",
    ]


def test_on_a_terminal_the_best_so_far_is_shown() -> None:
    told = shown(record(8, 0.5), record(32, 0.75), terminal=True)
    assert "best val_accuracy 0.75 at batch 32" in told
    assert "2/3" in told


def test_on_a_terminal_every_running_trial_has_a_line_and_all_fit_80_columns() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    earlier = (record(8, 0.5), record(16, None, Status.DIVERGED))
    progress = SearchProgress(240, earlier, objective=OBJECTIVE, console=console)
    for trial_id, size in (("a", 1024), ("b", 8)):
        running = Trial(Setting(size, 0.00565685), 2, budget=Budget(50), trial_id=trial_id)
        progress.started(running, f"cpu:{trial_id}")
        progress.reported(EpochReport(trial_id, 12, 10, 1, {}, 0.1))
    console.print(progress)
    assert isinstance(console.file, io.StringIO)
    overall, first, second, best = console.file.getvalue().splitlines()
    assert "2/240" in overall
    assert "2 running, 1 without a score" in overall
    assert "12/50" in first
    assert "batch 1024 lr 0.00566 seed 2" in first
    assert "batch 8 " in second
    assert best.strip() == "best val_accuracy 0.5 at batch 8 lr 0.001 seed 0"


def test_a_device_has_one_line_although_its_last_trial_is_told_later() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    progress = SearchProgress(4, (), objective=OBJECTIVE, console=console)
    first, second = (Trial(Setting(8, 0.1), seed, trial_id=name) for seed, name in enumerate("ab"))
    progress.started(first, "cpu:0")
    progress.started(second, "cpu:0")
    progress.ended(replace(first, outcome=TrialOutcome("a", Status.COMPLETED), score=0.5))
    console.print(progress)
    assert isinstance(console.file, io.StringIO)
    overall, only, _ = console.file.getvalue().splitlines()
    assert "1/4" in overall
    assert "1 running" in overall
    assert "seed 1" in only


def test_a_notebook_without_widgets_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with SearchProgress(3, (), objective=OBJECTIVE) as progress:
        progress.ended(record(8, 0.5))
    assert capsys.readouterr().out.startswith("[1/3] batch 8 lr 0.001 seed 0: val_accuracy 0.5")


def test_a_resumed_search_counts_what_is_done() -> None:
    told = shown(record(32, 0.5), terminal=False, earlier=(record(8, 0.5), record(8, None, Status.INTERRUPTED)))
    assert told.startswith("[2/3]")


def test_an_answer_fits_80_columns_and_survives_json_and_markdown() -> None:
    results = [
        finished_trial(
            size,
            seed,
            0.9 + seed / 100,
            learning_rate=1.234e-4,
            examples_per_second=123456.0,
            peak_memory_bytes=2**40,
        )
        for size in (8, 4096)
        for seed in range(3)
    ]
    answer = Answer(recommend(results, objective=OBJECTIVE), "study", "sqlite:///mlflow.db", "1")
    console = Console(file=io.StringIO(), width=80)
    answer.show(console)
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert "…" not in told
    assert "recommended" in told
    assert "| 4096 |" in answer.to_markdown()
    assert list(answer.to_json())[:5] == ["study", "tracking_uri", "experiment_id", "rule", "recommended_batch_size"]
