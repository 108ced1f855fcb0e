"""The lines of plain Keras tell the whole setting, and run."""

import ast
import io
from dataclasses import replace

from example_evidence import ACCURACY, evidence
from rich.console import Console

from tuning.show.answer import Answer
from tuning.show.page import render_report
from tuning.show.snippet import essential, script_of, snippet
from tuning.stats.recommendation import recommend
from tuning.trial import Trial, finished_trial


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


def test_a_build_function_without_hyperparameters_is_called_so():
    told = snippet(batch_size=8, epochs=3, seed=5, learning_rate=0.01, takes_hp=False)
    assert "\nmodel = build_model()  # your own function\nmodel.optimizer.learning_rate = 0.01\n" in told
    assert "hp" not in told
    assert essential(told).splitlines()[0] == "model.optimizer.learning_rate = 0.01"


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


def trained(batch_size: int, **settings: float) -> list[Trial]:
    outcome = finished_trial(batch_size, 0, 0.9, learning_rate=0.02)
    return [replace(outcome, outcome=replace(outcome.outcome, settings={"loop_steps": 3, **settings}))]


def test_the_numbers_that_followed_the_batch_size_are_those_of_its_own_trials():
    ended = [*trained(8, weight_decay=0.5), *trained(16, weight_decay=0.25)]
    found = recommend(ended, objective=ACCURACY)
    script = script_of(found, {"epochs": "3", "weight_decay": "held per epoch"}, ended)
    size = found.batch_size
    assert f"model.optimizer.weight_decay = {4 / size}\n" in script
    assert "follows the batch size, too" not in script
    assert "loop_steps" not in script
    assert "# weight decay follows" in script_of(found, {"epochs": "3", "weight_decay": "held"}, trained(size))
    assert script_of(found, {}, ended) == ""


def test_the_essential_lines_are_those_between_the_model_and_its_file():
    told = essential(snippet(batch_size=8, epochs=3, seed=5, learning_rate=0.01))
    assert told.splitlines()[0] == "model.optimizer.learning_rate = 0.01"
    assert told.splitlines()[-1] == ")"
    assert "model.save" not in told


def test_an_answer_has_the_script_on_a_terminal_in_a_notebook_and_as_json():
    found = recommend(trained(8), objective=ACCURACY)
    answer = Answer(found, "s", "", "1", script=script_of(found, {"epochs": "3"}, ()))
    console = Console(file=io.StringIO(), width=80)
    answer.show(console)
    assert "In plain Keras:\nmodel.optimizer.learning_rate = 0.02\nmodel.fit(\n" in console.file.getvalue()
    assert "keras.utils.set_random_seed(0)" in answer._repr_html_()
    assert answer.to_json()["script"] == answer.script


def test_a_report_of_foreign_runs_has_none():
    assert "set_random_seed" not in render_report(evidence(settings={}))


def test_a_training_that_cards_share_is_built_under_a_strategy() -> None:
    told = snippet(batch_size=8, epochs=3, seed=5, learning_rate=0.01, cards=2)
    assert "import tensorflow as tf\n" in told
    before, built = "with tf.distribute.MirroredStrategy().scope():  # of 2 cards", "\n    model = build_model(hp)"
    assert told.index(before) < told.index(built) < told.index("\nmodel.optimizer.learning_rate = 0.01")
    assert "Strategy" not in snippet(batch_size=8, epochs=3, seed=5)
    assert "Strategy" not in essential(told)
