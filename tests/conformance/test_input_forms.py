"""Whatever people hand over trains as in a script of plain Keras, at the same order, or is one clear line."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from input_forms import FORMS, Y

from search_spaces.data import DataError
from search_spaces.fit_data import read_fit_data
from search_spaces.identity import fingerprint
from search_spaces.space import Setting
from tuning.instructions import Budget, Instructions
from tuning.loops.session import TrainingSession
from tuning.trial import Status, Trial

SEED, EPOCHS = 3, 2
TRAINED = [name for name, form in FORMS.items() if not form.refused]
REFUSED = [name for name, form in FORMS.items() if form.refused]


def losses_of_search(build, data):
    """The losses of a trial, with all examples in one batch, so that their order within it decides nothing."""
    reports = []
    setting, instructions = Setting(data.n_train, None), Instructions(loop="keras", evaluation_batch_size=data.n_val)
    trial = Trial(setting, SEED, budget=Budget(EPOCHS), trial_id="t", instructions=instructions)
    outcome = TrainingSession(build, data).train(trial, lambda report: reports.append(report.metrics) or True)
    assert outcome.status is Status.COMPLETED, outcome.log_tail
    return [[dict(report)[name] for report in reports] for name in ("loss", "val_loss")]


def losses_of_keras(build, given):
    keras.utils.clear_session(free_memory=False)  # collecting garbage takes longer than the training
    keras.utils.set_random_seed(SEED)
    batch = {"batch_size": None if given.get("y") is None else len(Y), "shuffle": False}
    logs = build().fit(**given, **batch, epochs=EPOCHS, verbose=0).history
    return [logs["loss"], logs["val_loss"]]


def told(given):
    """What tells one call of `fit` from another: the kinds of what it is given, and their values."""
    if isinstance(given, tf.data.Dataset):
        return "Dataset", told(next(iter(given)))
    if isinstance(given, dict):
        return tuple((name, told(value)) for name, value in given.items())
    if isinstance(given, (tuple, list)):
        return type(given), tuple(map(told, given))
    is_array = isinstance(given, (np.ndarray, tf.Tensor, int, float))
    return (type(given), np.asarray(given).dtype, np.asarray(given).tobytes()) if is_array else id(given)


@pytest.fixture(scope="module")
def known():
    return {}


@pytest.mark.parametrize("name", TRAINED)
def test_a_form_trains_as_in_plain_keras(name, tmp_path, caplog, known):
    form = FORMS[name]
    with caplog.at_level(logging.WARNING):
        data = read_fit_data(**form.make(tmp_path)).checked()
    assert form.note in caplog.text
    assert bool(form.note) == bool(caplog.text)
    key = form.build, fingerprint(data)
    if key not in known:  # most forms come to the same arrays
        known[key] = losses_of_search(form.build, data)
    given = form.in_keras(form.make(tmp_path))
    in_keras = form.build, told(given)
    if in_keras not in known:
        known[in_keras] = losses_of_keras(form.build, given)
    expected = known[in_keras]
    np.testing.assert_allclose(known[key], expected, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in TRAINED if "dataset" in FORMS[name].note + name.lower()])
def test_the_examples_of_a_dataset_keep_their_order_or_get_one_of_their_own(name, tmp_path):
    first, second = (read_fit_data(**FORMS[name].make(tmp_path)) for _ in range(2))
    np.testing.assert_array_equal(first.x_train, second.x_train)
    np.testing.assert_array_equal(first.y_train, second.y_train)


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_is_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setattr("search_spaces.datasets.MOST_SECONDS_OF_UNKNOWN_LENGTH", 0.2)
    with pytest.raises(DataError, match=FORMS[name].refused) as caught:
        read_fit_data(**FORMS[name].make(tmp_path)).checked()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
