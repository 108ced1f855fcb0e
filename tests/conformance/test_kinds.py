"""Every kind of model trains in every loop that can to what a script of plain Keras logs, on the same examples."""

import numpy as np
import pytest
from kinds import KINDS, LOOPS
from plain import EVALUATION, SEED, plain_fit

from search_spaces.space import Setting
from tuning.instructions import Budget, Instructions
from tuning.loops.session import TrainingSession
from tuning.trial import Status, Trial

BATCH_SIZE, EPOCHS = 8, 2
ONLY_TRACED = ("steps per execution", "compiled by XLA")


def trial(loop, seed=SEED):
    instructions = Instructions(loop=loop, evaluation_batch_size=EVALUATION)
    return Trial(Setting(BATCH_SIZE, None), seed, budget=Budget(EPOCHS), trial_id="t", instructions=instructions)


def trained(session, loop, seed=SEED):
    reports = []
    outcome = session.train(trial(loop, seed), lambda report: reports.append(report) or True)
    return outcome, [dict(report.metrics) for report in reports]


@pytest.mark.parametrize("name", KINDS)
def test_every_loop_that_can_trains_to_what_plain_fit_logs(name):
    kind = KINDS[name]
    session = TrainingSession(kind.build, kind.data(), fit_options=kind.options)
    script = {"batch_size": BATCH_SIZE, "epochs": EPOCHS, "evaluation": kind.evaluation, **kind.options}
    expected = plain_fit(kind.build, kind.data(), eagerly=name not in ONLY_TRACED, **script)
    for loop in kind.loops:
        outcome, history = trained(session, loop)
        assert outcome.status is Status.COMPLETED, f"{loop}: {outcome.log_tail}"
        assert outcome.loop == loop
        assert len(history) == EPOCHS
        for epoch, (logs, plain) in enumerate(zip(history, expected, strict=True)):
            assert logs.keys() == plain.keys()
            for metric, value in plain.items():
                np.testing.assert_allclose(
                    logs[metric], value, rtol=kind.rtol, atol=1e-6, err_msg=f"{loop}: {metric} of epoch {epoch}"
                )
        if loop != "keras":  # a program that is used again, after another seed, gives the very same numbers
            assert trained(session, loop, SEED + 1)[1] != history
            assert trained(session, loop)[1] == history


REFUSED = [(name, loop) for name, kind in KINDS.items() for loop in LOOPS if loop not in kind.loops and kind.reason]


@pytest.mark.parametrize(("name", "loop"), REFUSED)
def test_a_loop_that_cannot_says_why_and_auto_takes_another(name, loop):
    kind = KINDS[name]
    session = TrainingSession(kind.build, kind.data(), fit_options=kind.options)
    outcome, _ = trained(session, loop)
    assert outcome.status is Status.FAILED
    assert kind.reason in outcome.reason
    assert trained(session, "auto")[0].loop == kind.loops[-1]
