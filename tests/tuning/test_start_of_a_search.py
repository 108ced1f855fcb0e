"""The order in which the command line begins and ends a search: nothing that can be done meanwhile is waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scripted_searches import workers

from tuning.cli import main
from tuning.commands import probe
from tuning.commands import search as command
from tuning.commands.source import read_workload
from tuning.search import answering
from tuning.search.search import Search

GRID = ("grid", "digits", "--batch-sizes", "16,64", "--seeds", "1", "--quiet")


@pytest.fixture
def happened(tmp_path: Path, mlflow_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a search of scripted workers did, in its order; it works in a directory with an empty store."""
    events: list[str] = []
    executor = workers()

    def note(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **rest: Any) -> Any:
            events.append(name)
            return function(*args, **rest)

        return noted

    @contextmanager
    def starting(*_: Any, **__: Any) -> Iterator[None]:
        events.append("workers start")
        try:
            yield
        finally:
            events.append("workers end")

    @contextmanager
    def running(*_: Any, **__: Any) -> Iterator[Any]:
        yield executor

    def made(*args: Any, **rest: Any) -> Search:
        assert executor.submitted == [("describe", "cpu:0")]  # asked before MLflow and Optuna are loaded
        return Search(*args, **rest)

    mlflow_store(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "starting_workers", starting)
    monkeypatch.setattr(command, "running_executor", running)
    monkeypatch.setattr(command, "read_workload", note("the workload is read", command.read_workload))
    monkeypatch.setattr("tuning.search.search.Search", note("the search is made", made))
    monkeypatch.setattr(command, "tell", note("the answer is shown", command.tell))
    monkeypatch.setattr(answering, "render_report", note("the report is drawn", lambda _: "<p>"))
    return events


def test_workers_start_before_all_and_the_answer_is_shown_before_its_report_is_drawn(happened: list[str]) -> None:
    assert main(GRID) == 0
    assert happened == [
        "workers start",
        "the workload is read",
        "the search is made",
        "the answer is shown",
        "the report is drawn",
        "workers end",
    ]


def test_an_answer_that_cannot_be_shown_is_recorded_all_the_same(
    happened: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(command, "tell", fail)
    assert main(GRID) == 1
    assert happened[-2:] == ["the report is drawn", "workers end"]
    assert main(["pick", "digits-grid"]) == 0
    assert "Train with a batch size of" in capsys.readouterr().out


def test_workers_end_where_there_is_no_such_workload(happened: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grid", "nothing", *GRID[2:]]) == 2
    assert happened == ["workers start", "the workload is read", "workers end"]
    assert "must be one of" in capsys.readouterr().err


def test_options_that_cannot_be_used_start_nothing(happened: list[str]) -> None:
    assert main([*GRID, "--memory-limit", "much"]) == 2
    assert happened == []


def test_a_probe_starts_its_worker_before_all_and_ends_it_where_there_is_no_such_workload(
    tmp_path: Path, mlflow_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    @contextmanager
    def starting(*_: Any, holds_memory: bool) -> Iterator[None]:
        assert holds_memory
        events.append("the worker starts")
        try:
            yield
        finally:
            events.append("the worker ends")

    def read(asked: Any) -> Any:
        events.append("the workload is read")
        return read_workload(asked)

    mlflow_store(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probe, "starting_workers", starting)
    monkeypatch.setattr(probe, "read_workload", read)
    assert main(["probe", "nothing"]) == 2
    assert events == ["the worker starts", "the workload is read", "the worker ends"]
    assert main(["probe", "digits", "--memory-limit", "much"]) == 2
    assert main(["probe", "digits", "--latency", "20ms"]) == 2
    assert len(events) == 3
