"""Whether XLA is worth its compile time, by hand-computed costs, and what a choice made for many trainings records."""

from __future__ import annotations

import time

import pytest
from training_helpers import Recorder, dense_model, make_data, make_trial

from tuning.loops.blocks import LEAST_UPDATES
from tuning.loops.loop_choice import CompilerTimeoutError, LoopChoice, XlaForecast, forecast, run_within
from tuning.loops.processor import Cpu
from tuning.loops.session import TrainingSession
from tuning.trial import Status


def choice(batch_size: int, **fields: object) -> LoopChoice:
    return LoopChoice(**{"batch_size": batch_size, "loop": "device", "updates": 100} | fields)


def test_a_model_never_tried_is_forecast_by_the_size_of_its_graph() -> None:
    found = forecast(500, updates=10_000, seconds_per_update=4e-3, batch_size=8, known=(), processor=Cpu())
    assert found.compile_seconds == pytest.approx(1.5)
    assert found.ratio == pytest.approx(0.75)  # 500 operations at 2 us are 1 ms of 4
    assert found.device_seconds == pytest.approx(40)
    assert found.saved_seconds == pytest.approx(10)
    assert forecast(500, 10_000, 0.5e-3, 8, (), Cpu()).ratio == 0.25


def test_a_model_tried_at_other_sizes_is_forecast_by_the_nearest() -> None:
    near = choice(16, seconds_per_update={"device": 2.0, "xla": 1.0}, compile_seconds={"device": 1.0, "xla": 3.0})
    far = choice(512, seconds_per_update={"device": 1.0, "xla": 2.0}, compile_seconds={"device": 9.0, "xla": 5.0})
    found = forecast(
        500, updates=100, seconds_per_update=1e-3, batch_size=32, known=[far, near, choice(32)], processor=Cpu()
    )
    assert (found.ratio, found.compile_seconds) == (0.5, 5.0)


@pytest.mark.parametrize(
    ("compile_seconds", "ratio", "seconds", "worth"),
    [(4.0, 0.5, 10.0, True), (6.0, 0.5, 10.0, False), (2.9, 1.0, 100.0, True), (3.1, 1.2, 100.0, False)],
    ids=["it saves more", "it saves less", "a failure costs little", "a failure costs too much"],
)
def test_xla_is_tried_where_it_pays_or_costs_little(
    compile_seconds: float, ratio: float, seconds: float, worth: bool
) -> None:
    assert XlaForecast(compile_seconds, ratio, seconds).is_worth_trying is worth


def test_a_choice_serves_trainings_of_its_length_and_any_where_both_loops_were_tried() -> None:
    assert choice(8).serves(400)
    assert not choice(8).serves(401)
    assert not choice(8, compile_seconds={"device": 1.0}).serves(401)
    assert choice(8, compile_seconds={"device": 1.0, "xla": 1.0}).serves(10**9)


def trained(trainings: int) -> LoopChoice:
    session = TrainingSession(dense_model, make_data())
    asked = make_trial(10, epochs=2, evaluation_batch_size=8, trainings=trainings)
    outcome = session.train(asked, Recorder())
    assert outcome.status is Status.COMPLETED, outcome
    (found,) = session._planner._choices.values()
    return found


def test_a_choice_is_made_for_all_the_trainings_that_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine XLA would now and then take longer than it may, and then nothing is timed.
    monkeypatch.setattr(XlaForecast, "is_worth_trying", False)
    alone, many = trained(1), trained(LEAST_UPDATES // 10)
    assert (alone.updates, many.updates) == (10, LEAST_UPDATES)
    assert alone.reason == "too few updates to time"
    assert "device" not in alone.seconds_per_update
    assert many.seconds_per_update["device"] > 0


def test_a_compiler_that_takes_too_long_is_left_to_itself() -> None:
    with pytest.raises(CompilerTimeoutError, match="did not compile within"):
        run_within(0.01, lambda: time.sleep(1))
    error = run_within(60, lambda: int("x"))
    assert isinstance(error, ValueError)
    assert run_within(60, lambda: None) is None
