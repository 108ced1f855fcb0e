"""When trials run beside one another on one CPU, and what they train with then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest
from fakes import RecordingTracker, ScriptedExecutor, description, device
from scripted_searches import arguments, curve, probes

from search_spaces import BatchSize, Data
from search_spaces.entry import entries_of
from tuning import BayesianOptimization, GridSearch, StagedSearch
from tuning.machine.threads import ThreadChoice
from tuning.messages import Throughput, ThroughputRequest
from tuning.run.memory_limit import MemoryLimit
from tuning.search.options import SearchArguments

X = np.zeros((8000, 2), "float32")
ARGUMENTS = SearchArguments(Data(X, X[:, 0], X, X[:, 0]), epochs=2, verbose=False)
ROOMY = MemoryLimit(2**40, "test")


class DivisibleExecutor(ScriptedExecutor):
    """A CPU of four cores that can be divided; an update takes 20 ms with one thread, with all as told."""

    def __init__(
        self,
        all_threads_s: float = 0.01,
        memory: MemoryLimit = ROOMY,
        script: Any = lambda _: [0.5],
        **rest: Any,
    ) -> None:
        first = replace(device("cpu:0", cores=4, threads=4), memory=memory)
        super().__init__(script, devices=[first], probes=self.answer, **rest)
        self._all_threads_s = all_threads_s
        self.parts: list[int] = []

    def answer(self, request: ThroughputRequest) -> Throughput:
        seconds = 0.02 if request.threads == 1 else self._all_threads_s
        return Throughput(request.trial_id, request.batch_size, "device", seconds)

    def divide(self, parts: int) -> None:
        self.parts.append(parts)
        for number in range(1, parts):
            self.join(device(f"cpu:{number}", cores=4, threads=1))


def search(directory: Path, executor: ScriptedExecutor, seeds: int = 2, **options: Any) -> RecordingTracker:
    tracker = RecordingTracker()
    tuner = GridSearch(
        lambda _hp: None,
        batch_size=BatchSize.of(8, 64),
        seeds=seeds,
        directory=directory,
        project_name="study",
        tracker=tracker,
        **options,
    )
    tuner.run(ARGUMENTS, executor)
    return tracker


def test_trials_run_beside_one_another_with_a_thread_each_and_are_timed_alone_with_all(tmp_path: Path) -> None:
    executor = DivisibleExecutor()
    search(tmp_path, executor)
    assert executor.parts == [4]
    trials = {trial.trial_id: trial for trial in executor.requests}
    assert {trial.instructions.threads for trial in trials.values()} == {1}
    assert {where for name, where in executor.submitted if name in trials} == {f"cpu:{number}" for number in range(4)}
    last = [request for request in executor.probed if request.trial_id.startswith("seconds-")]
    assert [(request.batch_size, request.threads) for request in last] == [(8, None), (64, None)]


def test_a_search_that_goes_on_trains_as_it_began(tmp_path: Path) -> None:
    search(tmp_path, DivisibleExecutor(), seeds=2)
    again = DivisibleExecutor(all_threads_s=0.001)
    search(tmp_path, again, seeds=2, overwrite=False)
    assert again.parts == [4]


class ScriptedCpu(DivisibleExecutor):
    """The same, with trainings that learn."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(script=curve, **rest)

    def answer(self, request: Any) -> Any:
        return super().answer(request) if isinstance(request, ThroughputRequest) else probes(request)


@pytest.mark.parametrize(
    ("kind", "prune"), [(BayesianOptimization, False), (BayesianOptimization, True), (StagedSearch, True)]
)
def test_searches_that_learn_from_trials_run_them_beside_one_another_too(
    kind: Any, prune: bool, tmp_path: Path
) -> None:
    executor = ScriptedCpu()
    tuner = kind(
        lambda: None,
        batch_size=BatchSize(8, 256),
        directory=tmp_path,
        project_name="study",
        tracker=RecordingTracker(),
        prune=prune,
        **({"max_trials": 6} if kind is BayesianOptimization else {}),
    )
    tuner.run(replace(arguments(), epochs=20), executor)
    assert executor.parts == [4]
    names = {trial.trial_id for trial in executor.requests}
    assert {trial.instructions.threads for trial in executor.requests} == {1}
    assert len({where for name, where in executor.submitted if name in names}) > 1
    timed = [request for request in executor.probed if request.trial_id.startswith(("throughput-", "seconds-"))]
    assert {request.threads for request in timed} == {None}  # as the user trains


def test_what_is_divided_stays_divided(tmp_path: Path) -> None:
    executor = DivisibleExecutor()
    for name in ("one", "other"):
        search(tmp_path / name, executor)
    assert executor.parts == [4]
    last = executor.requests[-4:]
    assert {trial.instructions.threads for trial in last} == {None}  # whoever has several devices shares them out


@pytest.mark.parametrize(
    ("executor", "options"),
    [
        (DivisibleExecutor(all_threads_s=0.005), {}),  # four threads do four times the work of one
        (DivisibleExecutor(all_threads_s=0.001), {}),
        (DivisibleExecutor(), {"workers": 1}),
        (DivisibleExecutor(), {"threads": 4}),
        (DivisibleExecutor(), {"cost": "energy"}),
        (DivisibleExecutor(), {"prune": True}),  # which trials are stopped depends on the order in which they run
        (DivisibleExecutor(described=description(has_own_loop=True)), {}),
    ],
)
def test_trials_run_one_after_another_where_that_is_as_fast_or_asked_for(
    executor: DivisibleExecutor, options: dict[str, Any], tmp_path: Path
) -> None:
    search(tmp_path, executor, **options)
    assert executor.parts == []


def test_little_work_is_not_shared_out(tmp_path: Path) -> None:
    executor = DivisibleExecutor(all_threads_s=0.0005)  # of 4500 updates
    search(tmp_path, executor)
    assert executor.parts == []
    assert [request.threads for request in executor.probed if request.trial_id.startswith("threads-")] == [None]


@pytest.mark.parametrize(("seeds", "parts"), [(1, [2]), (2, [4])])
def test_there_is_a_place_for_each_trial_at_most(seeds: int, parts: list[int], tmp_path: Path) -> None:
    executor = DivisibleExecutor(all_threads_s=0.015)
    search(tmp_path, executor, seeds=seeds)
    assert executor.parts == parts


def test_memory_is_shared_out_and_no_size_may_run_out_of_its_share(tmp_path: Path) -> None:
    executor = DivisibleExecutor(
        0.015, memory=MemoryLimit(7 * 2**30, "test")
    )  # about 2.5 GiB are needed at the largest size
    search(tmp_path, executor)
    assert executor.parts == [2]  # about 2.5 GiB each may be needed at the largest size


@pytest.mark.parametrize(("gib", "parts"), [(21, [2]), (19, [])])
def test_a_model_that_may_become_larger_needs_four_times_the_room(gib: int, parts: list[int], tmp_path: Path) -> None:
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 1, 2)
    roomy = MemoryLimit(gib * 2**30, "test")  # each of two places needs about 2.5 GiB by default
    executor = DivisibleExecutor(0.015, memory=roomy, described=description(entries=entries_of(hp.space)))
    search(tmp_path, executor)
    assert executor.parts == parts


def test_places_pay_where_together_they_do_a_tenth_more() -> None:
    assert ThreadChoice({8: (0.02, 0.0111)}).pays_beside(2, {8: 1})
    assert not ThreadChoice({8: (0.02, 0.0109)}).pays_beside(2, {8: 1})
    assert not ThreadChoice({8: (0.02, 0.009)}).pays_beside(2, {8: 1})
    assert not ThreadChoice().pays_beside(2, {8: 1})


def test_places_pay_by_the_work_of_all_batch_sizes() -> None:
    choice = ThreadChoice({8: (0.02, 0.03), 64: (0.04, 0.02)})  # at 36 0.03 with one thread and 0.025 with all
    assert choice.pays_beside(2, {8: 10, 64: 10})  # 0.3 s against 0.4 s
    assert not choice.pays_beside(2, {8: 1, 64: 100})
    assert choice.pays_beside(2, {36: 1})
    assert not choice.pays_beside(2, {64: 100, 8: 1, 128: 50})
    assert choice.pays_beside(2, {128: 10}) is choice.pays_beside(2, {64: 10}) is False
