"""What a worker tells first, and what it makes of messages that come while it trains."""

from __future__ import annotations

import gc
import pickle
import sys
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts import trial_of

from search_spaces import Data, Setting
from tuning.messages import DescribeRequest, ThroughputRequest
from tuning.run.executor import Device
from tuning.run.wire import STOP, Brief, Hello, Refusal, write_data
from tuning.trial import EpochReport, Trial
from tuning.worker import collecting_later, open_session, reporter, serve, tell_device

EPOCH = EpochReport("t", 1, 100, 10, {}, 0.0)


@pytest.mark.parametrize(
    "messages",
    [[(STOP, "t")], [(STOP, "t"), (STOP, "t")], [(STOP, "old"), (STOP, "t")], [(STOP, "t"), (STOP, "old")]],
)
def test_a_trial_stops_however_often_it_is_asked(messages: list[tuple[str, str]]) -> None:
    ours, theirs = Pipe()
    for message in messages:
        ours.send(message)
    assert not reporter(theirs, "t")(EPOCH)
    assert not theirs.poll()


def test_a_stop_for_an_earlier_trial_is_ignored() -> None:
    ours, theirs = Pipe()
    ours.send((STOP, "old"))
    assert reporter(theirs, "t")(EPOCH)
    assert ours.recv() == EPOCH


def test_what_is_imported_is_not_looked_at_by_later_collections_of_garbage() -> None:
    before = gc.get_freeze_count()
    with collecting_later():
        assert not gc.isenabled()
        kept = [[] for _ in range(100)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)


def hello(device: str = "cpu:0", **changes: Any) -> Hello:
    return Hello(device, [], **changes)


def test_a_cpu_is_told_with_the_limit_that_holds_there() -> None:
    ours, theirs = Pipe()
    assert tell_device(hello("cpu:3", memory_limit_bytes=10**6), theirs)
    told = ours.recv()
    assert isinstance(told, Device)
    assert (told.name, told.is_gpu, told.memory.bytes) == ("cpu:3", False, 10**6)
    assert tell_device(hello(sharing=2), theirs)
    assert tell_device(hello(sharing=200), theirs)
    assert ours.recv().memory.bytes > 50 * ours.recv().memory.bytes


def test_a_gpu_that_is_not_there_is_refused() -> None:
    ours, theirs = Pipe()
    assert not tell_device(hello("gpu:0"), theirs)
    refusal = ours.recv()
    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith("gpu:0 cannot be used: TensorFlow")
    assert "\n" not in refusal.reason


class Session:
    """Answers with the names of what it was asked to do."""

    def train(self, trial: Any, report: Any) -> str:
        return f"train {trial.trial_id} {report(EPOCH)}"

    def describe(self, request: Any) -> str:
        return f"describe {request.trial_id}"

    def probe(self, request: Any) -> str:
        return f"probe {request.trial_id}"


@pytest.mark.parametrize(
    ("request_", "answers"),
    [
        (trial_of("t"), [EPOCH, "train t True"]),
        (DescribeRequest("d", {}), ["describe d"]),
        (ThroughputRequest("p", 8), ["probe p"]),
        ((STOP, "gone"), []),
    ],
)
def test_each_request_is_answered_by_its_own_method(request_: Any, answers: list[Any]) -> None:
    ours, theirs = Pipe()
    serve(Session(), request_, theirs)
    assert [ours.recv() for _ in answers] == answers
    assert not ours.poll()


def test_a_session_knows_how_many_workers_share_the_counter_of_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = np.ones((2, 1), dtype="float32"), np.zeros(2, dtype="int64")
    write_data(Data(x, y, x, y), tmp_path)
    monkeypatch.setattr("tuning.loops.energy.RaplMeter", lambda root: pytest.fail("read in spite of a neighbour"))
    payload = pickle.dumps((build_tiny_model, (), {}, (None, None), {}))
    monkeypatch.setattr("sys.path", list(sys.path))
    session = open_session(hello(sharing=2), Brief([*sys.path, "further"], payload, tmp_path))
    assert sys.path[-1] == "further"
    assert "2 workers share the processor" in session.train(Trial(Setting(1, None), 0), lambda _: True).energy_note


def build_tiny_model() -> Any:
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model
