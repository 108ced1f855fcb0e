"""A loop is a class and a line in the registry: here a fourth one, which trains through the whole session."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from training_helpers import Recorder, assert_same_history, dense_model, make_data, trial_of

from tuning.loops import registry
from tuning.loops.fit_plan import FitPlan
from tuning.loops.loop import Workbench
from tuning.loops.registry import LOOP_CHOICES, LOOPS, loop_named
from tuning.loops.session import TrainingSession
from tuning.trial import Status


class FourthLoop:
    """Plain `fit` under another name, which refuses callbacks."""

    def can_train(self, model: Any, data: Any, callbacks: Sequence[Any]) -> str:
        return "it has callbacks" if callbacks else ""

    def plan(self, bench: Workbench) -> FitPlan:
        plan = bench.plain()
        return FitPlan(plan.model, plan.arguments, "fourth", settings=plan.settings)


@pytest.fixture
def fourth(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(registry._HOMES, "fourth", f"{__name__}:FourthLoop")
    return "fourth"


def train(loop: str, **session: Any) -> tuple[Any, Recorder]:
    recorder = Recorder()
    trained = TrainingSession(dense_model, make_data(), **session).train(trial_of(loop=loop), recorder)
    return trained, recorder


def test_a_fourth_loop_trains_like_fit(fourth: str) -> None:
    outcome, recorder = train(fourth)
    assert (outcome.status, outcome.loop) == (Status.COMPLETED, fourth)
    assert_same_history(recorder.history, train("keras")[1].history)


def test_a_loop_that_cannot_train_says_why(fourth: str) -> None:
    import keras

    outcome, _ = train(fourth, callbacks=[keras.callbacks.Callback()])
    assert outcome.status is Status.FAILED
    assert "The fourth loop cannot train this: it has callbacks. Use the keras loop, or auto." in outcome.reason


def test_every_loop_is_found_and_an_unknown_one_names_those_there_are() -> None:
    assert LOOPS == ("keras", "device", "xla")
    assert ("auto", *LOOPS) == LOOP_CHOICES
    for name in LOOPS:
        assert {"can_train", "plan"} <= set(dir(loop_named(name)))
    with pytest.raises(ValueError, match="one of auto, keras, device, xla; got 'nosuch'"):
        loop_named("nosuch")


def test_the_names_load_no_tensorflow() -> None:
    script = "import sys; import tuning.loops.registry; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
