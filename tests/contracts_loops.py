"""What every loop must do, whoever writes it: subclass `LoopContract` and say which loop."""

import dataclasses

import pytest

from search_spaces.data import Data
from search_spaces.space import Setting
from tuning.instructions import Budget, Instructions
from tuning.loops.loop import find_loop
from tuning.loops.session import TrainingSession
from tuning.trial import Status, Trial

N_TRAIN, N_VAL, FEATURES = 40, 12, 4
EPOCHS = 3


def contract_data():
    import numpy as np

    generator = np.random.default_rng(1)
    x = generator.normal(size=(N_TRAIN + N_VAL, FEATURES)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    return Data(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:])


def contract_model():
    import keras

    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(2)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


class LoopContract:
    """The tests of a loop; a subclass names it in `name`."""

    name: str
    rtol, atol = 2e-5, 2e-6

    def trial(self, batch_size=8, **changes):
        trial = Trial(
            Setting(batch_size, 0.05),
            seed=2,
            budget=Budget(EPOCHS),
            trial_id="c",
            instructions=Instructions(loop=self.name, evaluation_batch_size=5),
        )
        return dataclasses.replace(trial, **changes)

    def train(self, trial, session=None, stop_after=None):
        reports = []

        def report(epoch):
            reports.append(epoch)
            return len(reports) != stop_after

        outcome = (session or TrainingSession(contract_model, contract_data())).train(trial, report)
        return outcome, reports

    def test_the_registry_finds_it_by_its_name(self):
        assert find_loop(self.name).name == self.name

    def test_it_says_that_it_can_train_a_plain_model(self):
        session = TrainingSession(contract_model, contract_data())
        assert find_loop(self.name).can_train(contract_model(), session._planner._data, ()) == ""

    @pytest.mark.parametrize("batch_size", [1, 7, 20, N_TRAIN])
    def test_it_trains_the_updates_of_every_epoch(self, batch_size):
        outcome, reports = self.train(self.trial(batch_size))
        assert outcome.status is Status.COMPLETED, outcome.log_tail
        assert outcome.loop == self.name
        done = [epoch * N_TRAIN // batch_size for epoch in range(1, EPOCHS + 1)]
        assert [report.updates for report in reports] == done
        assert [report.examples_seen for report in reports] == [updates * batch_size for updates in done]

    def test_it_trains_to_what_plain_fit_does(self):
        _, reports = self.train(self.trial())
        plain = dataclasses.replace(self.trial().instructions, loop="keras")
        _, expected = self.train(self.trial(instructions=plain))
        for found, other in zip(reports, expected, strict=True):
            assert found.metrics == pytest.approx(other.metrics, rel=self.rtol, abs=self.atol)

    def test_one_seed_is_one_training_also_in_a_session_that_trained_before(self):
        session = TrainingSession(contract_model, contract_data())
        first, other, again = (
            [report.metrics for report in self.train(self.trial(seed=seed), session)[1]] for seed in (2, 3, 2)
        )
        assert first == again
        assert first != other

    def test_it_stops_after_the_epoch_in_which_it_is_told(self):
        outcome, reports = self.train(self.trial(), stop_after=2)
        assert (outcome.status, len(reports)) == (Status.PRUNED, 2)

    def test_it_tells_the_seconds_of_training_and_of_compiling(self):
        outcome, reports = self.train(self.trial(batch_size=4))
        assert outcome.seconds == pytest.approx(reports[-1].seconds)
        assert outcome.compile_seconds > 0
        assert outcome.examples_per_second > 0
