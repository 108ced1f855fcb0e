"""Batches that are trained in parts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from training_helpers import Recorder, assert_same_history, dense_model, make_data, make_trial

from tuning.loops.fit_plan import FitPlan
from tuning.loops.session import TrainingSession
from tuning.loops.training import outcome_of
from tuning.trial import Status


def train(loop, **micro):
    recorder = Recorder()
    session = TrainingSession(dense_model, make_data())
    trial = make_trial(batch_size=20, seed=1, epochs=4, loop=loop, learning_rate=0.01, **micro)
    outcome = session.train(trial, recorder)
    assert outcome.status is Status.COMPLETED, outcome
    return outcome, recorder


@pytest.mark.parametrize("loop", ["keras", "device"])
def test_micro_batches_take_the_updates_of_the_whole_batch(loop):
    _, whole = train(loop)
    outcome, parts = train(loop, micro_batch_size=5)
    for epoch, expected in zip(parts.epochs, whole.epochs, strict=True):
        assert (epoch.updates, epoch.examples_seen) == (expected.updates, expected.examples_seen)
    judged = [{name: logs[name] for name in ("val_loss", "val_accuracy")} for logs in whole.history]
    found = [{name: logs[name] for name in ("val_loss", "val_accuracy")} for logs in parts.history]
    assert_same_history(found, judged, rtol=1e-4)
    assert outcome.settings["micro_batch_size"] == 5


def test_a_micro_batch_must_divide_the_batch():
    with pytest.raises(ValueError, match="must divide the batch size 20; got 6"):
        make_trial(batch_size=20, seed=1, epochs=1, micro_batch_size=6)


@pytest.mark.parametrize(("micro", "rate"), [({}, 40.0), ({"micro_batch_size": 5}, 10.0)])
def test_throughput_counts_the_examples_of_a_gradient(micro, rate):
    clock = SimpleNamespace(seconds_per_update=0.5, seconds=3.0, compile_seconds=1.0)
    reporter = SimpleNamespace(status=Status.COMPLETED, reason="", epochs=2)
    plan = FitPlan(dense_model(), {}, "keras", compile_seconds=2.0)
    outcome = outcome_of(make_trial(20, **micro), plan, clock, reporter, 7)
    assert (outcome.examples_per_second, outcome.seconds, outcome.compile_seconds) == (rate, 3.0, 3.0)
    assert (outcome.peak_memory_bytes, outcome.settings["epochs_trained"]) == (7, 2)
