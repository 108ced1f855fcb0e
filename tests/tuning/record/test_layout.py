from __future__ import annotations

import math

import pytest
from tracker_helpers import planned

from tuning.messages import Measurement
from tuning.record import layout
from tuning.trial import EpochReport, HyperparameterValue, Status, TrialOutcome


def report(epoch: int, examples: int, seconds: float) -> EpochReport:
    return EpochReport("1", epoch, examples, examples // 8, {"loss": 1.0 / epoch}, seconds)


def test_throughput_of_an_epoch_leaves_earlier_epochs_out() -> None:
    first, second = report(1, 1000, 2.0), report(2, 2000, 2.5)
    assert layout.epoch_values(first, None)["examples_per_second"] == 500
    assert layout.epoch_values(second, first)["examples_per_second"] == 2000


def test_throughput_is_left_out_where_the_clock_did_not_move() -> None:
    assert "examples_per_second" not in layout.epoch_values(report(1, 1000, 0.0), None)


def test_infinities_become_nan_and_the_unknown_is_left_out() -> None:
    metrics = layout.as_metrics({"a": math.inf, "b": None, "c": 1.5}, 7, 30)
    assert [(metric.key, metric.timestamp, metric.step) for metric in metrics] == [("a", 7, 30), ("c", 7, 30)]
    assert math.isnan(metrics[0].value)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_one_of_mlflows(status: Status) -> None:
    assert layout.run_status(status) in {"FINISHED", "KILLED", "FAILED"}
    assert (layout.run_status(status) == "FINISHED") == (status is Status.COMPLETED)


def test_the_loop_that_trained_is_logged_and_a_changed_setting_keeps_both_values() -> None:
    outcome = TrialOutcome("1", Status.COMPLETED, loop="xla", settings={"epochs": 5, "dtype": "float32"})
    assert layout.outcome_params(outcome, {"epochs": 4}) == {
        "epochs_used": 5,
        "dtype": "float32",
        "loop": "xla",
    }


def test_a_failure_explains_itself_on_its_page() -> None:
    outcome = TrialOutcome("1", Status.OUT_OF_MEMORY, "killed at 2 GB", log_tail="last words")
    assert layout.outcome_tags(outcome)[layout.NOTE] == "**out_of_memory**: killed at 2 GB\n\n```\nlast words\n```"
    assert layout.NOTE not in layout.outcome_tags(TrialOutcome("1", Status.COMPLETED))


def test_a_description_links_to_the_files() -> None:
    assert layout.note("Use **8**.\n", "#/x") == "Use **8**.\n\n[Files of the recommendation](#/x)\n"


def test_a_long_description_is_cut_after_a_line_and_says_where_the_rest_is() -> None:
    text = layout.note("a line of words\n" * 1000, "#/x")
    head, rest = text.split("\n\n… ")
    assert len(text) <= 5000
    assert head.endswith("a line of words")
    assert "report.md" in rest
    assert rest.endswith("(#/x)\n")


@pytest.mark.parametrize(
    ("name", "clean"),
    [("f1@0.5", "f1_0.5"), ("a//b", "a/b"), ("../x", "x"), ("été", "_t_"), ("..", "_"), ("val_loss", "val_loss")],
)
def test_names_that_mlflow_would_refuse_are_changed(name: str, clean: str) -> None:
    assert layout.clean_name(name) == clean


@pytest.mark.parametrize("value", [3, 0.5, True, False, "relu", 1e-7])
def test_params_are_read_back_with_their_type(value: HyperparameterValue) -> None:
    read = layout.parse_value(str(value))
    assert read == value
    assert type(read) is type(value)


def test_hyperparameters_are_the_params_that_are_not_ours() -> None:
    tags = layout.start_tags(planned("7", units="64", dropout=None))
    assert layout.hyperparameters_of({}, tags) == (("units", "64"),)
    assert layout.hyperparameters_of({"batch_size": "8", "units": "64"}, {}) == (("units", 64),)


def test_what_is_measured_once_is_drawn_as_bars_and_the_steady_throughput_comes_last() -> None:
    outcome = TrialOutcome("1", Status.COMPLETED, seconds=2.0, examples_per_second=900.0, measurements={"loss": 0.5})
    metrics = layout.outcome_metrics(outcome, report(2, 2000, 2.5), 7)
    assert {metric.key: (metric.value, metric.step) for metric in metrics} == {
        "seconds": (2.0, 0),
        "examples_per_second": (900.0, 2000),
        "loss": (0.5, 2000),
    }
    assert {metric.step for metric in layout.outcome_metrics(outcome, None, 7)} == {0}


def test_a_trial_is_named_by_its_setting_and_its_seed() -> None:
    assert layout.run_name(planned(batch_size=32, learning_rate=0.0012345, seed=2)) == "batch 32, lr 0.00123, seed 2"
    assert layout.run_name(planned(batch_size=32)) == "batch 32, seed 0"


def test_the_params_of_a_trial_are_its_setting_its_seed_and_its_budget() -> None:
    params = layout.trial_params(planned("7", 16, seed=3, learning_rate=0.5, units=64, dropout=None))
    assert params == {"units": 64, "batch_size": 16, "learning_rate": 0.5, "seed": 3, "epochs": 2}
    assert "learning_rate" not in layout.trial_params(planned())


def test_a_series_keeps_its_steps_and_single_values_are_drawn_as_bars() -> None:
    measurement = Measurement("noise", values={"seconds": 2.0}, series=(("scale", 20.0, 0), ("scale", 30.0, 500)))
    logged = [(metric.key, metric.value, metric.step) for metric in layout.measurement_metrics(measurement, 7)]
    assert logged == [("seconds", 2.0, 0), ("scale", 20.0, 0), ("scale", 30.0, 500)]


def test_a_measurement_that_failed_explains_itself_on_its_page() -> None:
    tags = layout.measurement_tags(Measurement("it's noise", reason="no memory"))
    assert tags == {
        layout.STAGE: "measurement",
        layout.MEASURED: "it_s noise",
        layout.REASON: "no memory",
        layout.NOTE: "**not measured**: no memory",
    }
    assert layout.measurement_tags(Measurement("noise")).keys() == {layout.STAGE, layout.MEASURED}
