"""The lines of plain Keras tell the whole setting, and run."""

import ast

from example_evidence import evidence

from tuning.show.page import render_report
from tuning.show.snippet import snippet


def test_every_number_of_the_setting_is_set():
    told = snippet(
        batch_size=8,
        epochs=3,
        seed=5,
        learning_rate=0.01,
        hyperparameters={"units": 32},
        constants={"beta_2": "0.99"},
        fit_options={"class_weight": {0: 2.0}, "validation_batch_size": None},
        optimizer="model.optimizer.inner_optimizer",
    )
    ast.parse(told)
    assert "hp.values = {'units': 32, 'batch_size': 8, 'learning_rate': 0.01}" in told
    assert "keras.utils.set_random_seed(5)\n" in told
    assert "\nmodel.optimizer.inner_optimizer.learning_rate = 0.01\n" in told
    assert "\nmodel.optimizer.inner_optimizer.beta_2 = 0.99\n" in told
    assert all(line in told for line in ("    batch_size=8,\n", "    epochs=3,\n", "    class_weight={0: 2.0},\n"))
    assert "validation_batch_size" not in told


def test_the_model_s_own_rate_is_left_alone():
    assert "learning_rate" not in snippet(batch_size=8, epochs=3, seed=5)


def test_a_schedule_stands_in_the_place_of_a_rate():
    told = snippet(batch_size=8, epochs=3, seed=5, learning_rate=0.01, constants={"learning_rate": "CosineDecay(1, 2)"})
    assert told.count("model.optimizer.learning_rate = ") == 1
    assert "model.optimizer.learning_rate = CosineDecay(1, 2)\n" in told


def test_examples_that_are_made_come_in_datasets():
    options = {"class_weight": {0: 2.0}, "validation_batch_size": 64}
    told = snippet(batch_size=8, epochs=3, seed=5, fit_options=options, made=True)
    ast.parse(told)
    assert "    train.batch(8, drop_remainder=True).prefetch(2),\n" in told
    assert "    validation_data=validation.batch(64),\n    class_weight={0: 2.0},\n)" in told
    assert "x_train" not in told
    assert "train.batch(" in render_report(evidence(settings={"epochs": "30", "examples": "streamed"}))


def test_a_report_has_the_script_and_says_what_it_lacks():
    page = render_report(evidence(settings={"epochs": "30", "schedule": "CosineDecay"}))
    assert "epochs=30," in page
    assert "# schedule follows the batch size, too" in page
    assert "model.optimizer.learning_rate" not in page
    assert "model.optimizer.learning_rate = " in render_report(evidence(settings={"epochs": "30"}))


def test_a_report_of_foreign_runs_has_none():
    assert "set_random_seed" not in render_report(evidence(settings={}))
