"""The threads of a study's trials, from a first search to one that goes on with it; on scripted timings and trials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fakes import RecordingTracker, Script, ScriptedExecutor, device

from search_spaces import BatchSize, Data
from tuning import GridSearch
from tuning.messages import Throughput, ThroughputRequest
from tuning.search.options import SearchArguments

X = np.zeros((8000, 2), "float32")
ARGUMENTS = SearchArguments(Data(X, X[:, 0], X, X[:, 0]), epochs=2, verbose=False)


def timing(request: ThroughputRequest) -> Throughput:
    """One thread is faster up to a batch size of 8."""
    one, every = 0.0001 * request.batch_size, 0.002
    return Throughput(request.trial_id, request.batch_size, "device", one if request.threads == 1 else every)


def executor_of(script: Script = lambda _: [0.5]) -> ScriptedExecutor:
    return ScriptedExecutor(script, probes=timing, devices=[device(threads=2)])


def search(directory: Path, executor: ScriptedExecutor, **options: int) -> RecordingTracker:
    tracker = RecordingTracker()
    tuner = GridSearch(
        lambda _hp: None,
        batch_size=BatchSize.of(1, 8, 64),
        seeds=1,
        directory=directory,
        project_name="study",
        tracker=tracker,
        **options,
    )
    tuner.run(ARGUMENTS, executor)
    return tracker


def threads_by_size(executor: ScriptedExecutor) -> dict[int, int | None]:
    return {trial.batch_size: trial.instructions.threads for trial in executor.requests}


def timings(executor: ScriptedExecutor) -> list[str]:
    return [request.trial_id for request in executor.probed if request.trial_id.startswith("threads-")]


def test_small_sizes_train_with_one_thread_and_the_figures_are_shown(tmp_path: Path) -> None:
    executor = executor_of()
    tracker = search(tmp_path, executor)
    assert timings(executor) == [f"threads-{who}-{size}" for size in (1, 8, 64) for who in ("all", "1")]
    assert threads_by_size(executor) == {1: 1, 8: 1, 64: None}
    assert ("seconds_per_update_one_thread", pytest.approx(0.0008), 8) in tracker.measurements["threads"].series
    assert "threads" not in tracker.trials


def test_a_search_that_goes_on_keeps_to_its_choice(tmp_path: Path) -> None:
    def interrupted(request: object) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, executor_of(interrupted))
    again = executor_of()
    search(tmp_path, again)
    assert timings(again) == []
    assert threads_by_size(again) == {1: 1, 8: 1, 64: None}


def test_a_study_that_began_without_a_choice_goes_on_so(tmp_path: Path) -> None:
    def interrupted(request: object) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, executor_of(interrupted), threads=2)
    again = executor_of()
    search(tmp_path, again)
    assert timings(again) == []
    assert threads_by_size(again) == dict.fromkeys((1, 8, 64))
