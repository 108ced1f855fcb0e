"""Progress counts as trials end, and fits a terminal, a file and a notebook."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from search_spaces import Setting
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.show.progress import SearchProgress
from tuning.trial import EpochReport, Status, Trial, TrialOutcome, finished_trial

ACCURACY = Objective("val_accuracy")


def ended(size: int, score: float | None, status: Status = Status.COMPLETED, reason: str = "") -> Trial:
    return finished_trial(
        size, 0, score, status=status, learning_rate=0.001, trial_id="t", reason=reason, examples_per_second=1234.5
    )


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def shown(*trials: Trial, terminal: bool, earlier: tuple[Trial, ...] = (), objective: Objective = ACCURACY) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    progress = SearchProgress(3, earlier, objective=objective, console=console)
    with progress:
        for trial in trials:
            progress.started(trial, "cpu:0")
            progress.reported(EpochReport("t", 1, 10, 1, {}, 0.1))
            progress.ended(trial)
    return text_of(console)


def test_without_a_terminal_every_trial_is_a_line() -> None:
    told = shown(ended(8, 0.5), ended(32, None, Status.FAILED, "boom"), terminal=False)
    assert told.splitlines() == [
        "[1/3] batch 8 lr 0.001 seed 0: val_accuracy 0.5, 1,234 examples/s",
        "[2/3] batch 32 lr 0.001 seed 0: failed: boom",
    ]


def test_on_a_terminal_the_best_so_far_is_shown() -> None:
    told = shown(ended(8, 0.5), ended(32, 0.75), terminal=True)
    assert "best val_accuracy 0.75 at batch 32" in told
    assert "2/3" in told


def test_on_a_terminal_every_running_trial_has_a_line_and_all_fit_80_columns() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    earlier = (ended(8, 0.5), ended(16, None, Status.DIVERGED))
    progress = SearchProgress(240, earlier, objective=ACCURACY, console=console)
    for trial_id, size in (("a", 1024), ("b", 8)):
        running = Trial(Setting(size, 0.00565685), 2, budget=Budget(50), trial_id=trial_id)
        progress.started(running, f"cpu:{trial_id}")
        progress.reported(EpochReport(trial_id, 12, 10, 1, {}, 0.1))
    console.print(progress)
    overall, first, second, best = text_of(console).splitlines()
    assert "2/240" in overall
    assert "2 running, 1 without a score" in overall
    assert "12/50" in first
    assert "batch 1024 lr 0.00566 seed 2" in first
    assert "batch 8 " in second
    assert best.strip() == "best val_accuracy 0.5 at batch 8 lr 0.001 seed 0"


def test_a_device_has_one_line_although_its_last_trial_is_told_later() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    progress = SearchProgress(4, (), objective=ACCURACY, console=console)
    first, second = (Trial(Setting(8, 0.1), seed, trial_id=name) for seed, name in enumerate("ab"))
    progress.started(first, "cpu:0")
    progress.started(second, "cpu:0")
    progress.ended(replace(first, outcome=TrialOutcome("a", Status.COMPLETED), score=0.5))
    console.print(progress)
    overall, only, _ = text_of(console).splitlines()
    assert "1/4" in overall
    assert "1 running" in overall
    assert "seed 1" in only


def test_a_notebook_without_widgets_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with SearchProgress(3, (), objective=ACCURACY) as progress:
        progress.ended(ended(8, 0.5))
    assert capsys.readouterr().out.startswith("[1/3] batch 8 lr 0.001 seed 0: val_accuracy 0.5")


def test_a_resumed_search_counts_what_is_done() -> None:
    told = shown(ended(32, 0.5), terminal=False, earlier=(ended(8, 0.5), ended(8, None, Status.INTERRUPTED)))
    assert told.startswith("[2/3]")


def test_the_best_of_a_loss_is_the_least_and_a_nan_is_never_best() -> None:
    scores = (float("nan"), 0.5, 0.25, 0.75, float("nan"))
    trials = [ended(2**place, score) for place, score in enumerate(scores, start=3)]
    assert "best val_loss 0.25 at batch 32 " in shown(*trials, terminal=True, objective=Objective("val_loss", "min"))


def test_a_lost_trial_is_not_counted_for_it_runs_again() -> None:
    told = shown(ended(8, None, Status.LOST, "power cut"), ended(8, 0.5), terminal=False)
    assert [line.partition(" ")[0] for line in told.splitlines()] == ["[0/3]", "[1/3]"]


def test_a_report_of_a_trial_whose_device_has_gone_on_changes_nothing() -> None:
    progress = SearchProgress(4, (), objective=ACCURACY, console=Console(file=io.StringIO()))
    progress.started(Trial(Setting(8, None), 0, trial_id="a"), "cpu:0")
    progress.started(Trial(Setting(8, None), 1, trial_id="b"), "cpu:0")
    progress.reported(EpochReport("a", 1, 10, 1, {}, 0.1))


@pytest.mark.parametrize(("quiet", "told"), [(False, "Plan: [3] sizes\n"), (True, "")])
def test_a_line_is_told_unless_it_is_to_be_quiet(quiet: bool, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with SearchProgress(3, (), objective=ACCURACY, quiet=quiet) as progress:
        progress.tell("Plan: [3] sizes")
    assert capsys.readouterr().err == told


def test_more_trials_may_be_expected() -> None:
    console = Console(file=io.StringIO(), width=80)
    progress = SearchProgress(1, (), objective=ACCURACY, console=console)
    progress.expect(7)
    progress.ended(ended(8, 0.5))
    assert text_of(console).startswith("[1/7]")


def told(trial: Trial, *varied: str, total: int = 3) -> str:
    console = Console(file=io.StringIO(), width=80)
    SearchProgress(total, (), objective=ACCURACY, varied=varied, console=console).ended(trial)
    return text_of(console)


def with_own(trial: Trial, **own: object) -> Trial:
    return replace(trial, setting=replace(trial.setting, hyperparameters=tuple(sorted(own.items()))))


def test_a_line_names_the_model_s_hyperparameters_that_differ_and_no_others() -> None:
    trial = with_own(ended(8, 0.5), units=128, rate=0.25, layers=2)
    assert told(trial, "units") == "[1/3] batch 8 lr 0.001 units 128 seed 0: val_accuracy 0.5, 1,234 examples/s\n"
    assert told(trial) == "[1/3] batch 8 lr 0.001 seed 0: val_accuracy 0.5, 1,234 examples/s\n"


def test_hyperparameters_matter_more_than_the_speed_and_are_cut_at_80_columns() -> None:
    trial = with_own(ended(1024, 0.96875), activation="gelu", units=128)
    assert told(trial, "units", "activation") == (
        "[1/3] batch 1024 lr 0.001 activation gelu units 128 seed 0: val_accuracy 0.9688\n"
    )
    long = told(with_own(ended(1024, 0.96875), activation="x" * 100), "activation", total=1000)
    assert len(long.rstrip("\n")) == 80
    assert long.startswith("[1/1000] batch 1024 lr 0.001 activation xx")
    assert long.endswith("x… seed 0: val_accuracy 0.9688\n")


def test_live_lines_and_the_best_name_them_too() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    done = with_own(ended(8, 0.5), units=16)
    progress = SearchProgress(240, (done,), objective=ACCURACY, varied=("units",), console=console)
    progress.started(with_own(Trial(Setting(8, 0.001), 2, budget=Budget(50), trial_id="a"), units=128), "cpu:0")
    console.print(progress)
    _, line, best = text_of(console).splitlines()
    assert "batch 8 lr 0.001 units 128 seed 2" in line
    assert best.strip() == "best val_accuracy 0.5 at batch 8 lr 0.001 units 16 seed 0"
