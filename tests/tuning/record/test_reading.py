from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from tracker_helpers import planned

from search_spaces.space import Setting
from tuning.instructions import Budget
from tuning.messages import Measurement
from tuning.objective import Objective
from tuning.record import experiments
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.reading import latest_study, read_foreign, read_study
from tuning.record.store import TrackingError
from tuning.stats.recommendation import recommend
from tuning.trial import EpochReport, HyperparameterValue, Status, Trial, TrialOutcome, finished_trial

SETTINGS = {"objective": "val_accuracy", "mode": "max", "seeds": "3"}


def record(
    tracker: MlflowTracker,
    trial_id: str,
    outcome: TrialOutcome | None,
    *,
    stage: str = "search",
    accuracies: tuple[float, ...] = (0.5, 0.75),
    seed: int = 1,
    learning_rate: float | None = 0.002,
    **hyperparameters: HyperparameterValue,
) -> None:
    tracker.start_trial(planned(trial_id, 32, seed=seed, learning_rate=learning_rate, stage=stage, **hyperparameters))
    for epoch, accuracy in enumerate(accuracies, start=1):
        metrics = {"loss": 1 - accuracy, "val_accuracy": accuracy}
        tracker.epoch(EpochReport(trial_id, epoch, 640 * epoch, 20 * epoch, metrics, 0.25 * epoch))
    if outcome is not None:
        tracker.end_trial(outcome)
    tracker.close()


def study(uri: str, name: str = "digits") -> MlflowTracker:
    tracker = MlflowTracker(uri)
    tracker.start_study(name, SETTINGS)
    return tracker


def test_a_trial_is_read_back_as_it_was(tracking_uri: str) -> None:
    tracker = study(tracking_uri)
    completed = TrialOutcome(
        "0", Status.COMPLETED, seconds=0.5, examples_per_second=2600.0, peak_memory_bytes=2**30, loop="xla"
    )
    record(tracker, "0", completed, units=64, activation="relu", dropout=None, ratio=0.5, bias=True, width="128")
    read = read_study(tracking_uri, "digits")
    assert (read.objective, read.notes) == (Objective("val_accuracy"), ())
    assert read.settings == SETTINGS
    assert read.experiment_id == tracker.experiment_id
    assert read.trials == (
        finished_trial(
            32,
            1,
            0.75,
            learning_rate=0.002,
            hyperparameters={"activation": "relu", "bias": True, "ratio": 0.5, "units": 64, "width": "128"},
            curve=((640, 0.5), (1280, 0.75)),
            losses={640: {"loss": 0.5}, 1280: {"loss": 0.25}},
            epochs=2,
            trial_id="0",
            examples_per_second=2600.0,
            peak_memory_bytes=2**30,
            seconds=0.5,
        ),
    )


def test_how_trainings_went_is_the_same_from_mlflow_as_from_the_search(tracking_uri: str) -> None:
    tracker, trials = study(tracking_uri), []
    for trial_id, (size, seed) in enumerate(itertools.product((8, 64), range(3))):
        planned_trial = Trial(Setting(size, 0.1), seed, budget=Budget(10), trial_id=str(trial_id))
        reports = tuple(_report(str(trial_id), size, seed, epoch) for epoch in range(1, 11))
        outcome = TrialOutcome(str(trial_id), Status.COMPLETED)
        trials.append(
            replace(planned_trial, reports=reports, outcome=outcome, score=reports[-1].metrics["val_accuracy"])
        )
        tracker.start_trial(planned_trial)
        for report in reports:
            tracker.epoch(report)
        tracker.end_trial(outcome)
    tracker.close()
    found = recommend(trials, objective=Objective("val_accuracy")).behaviour
    assert found.equal_loss is not None
    assert all(row.update_noise and row.diagnoses for row in found.sizes)
    assert recommend(read_study(tracking_uri, "digits").trials, objective=Objective("val_accuracy")).behaviour == found


def test_losses_are_read_of_the_trials_that_judge_a_batch_size(tracking_uri: str) -> None:
    tracker = study(tracking_uri)
    for trial_id, (stage, seed) in enumerate((("search", 0), ("confirm", 1))):
        record(tracker, str(trial_id), TrialOutcome(str(trial_id), Status.COMPLETED), stage=stage, seed=seed)
    search, confirm = read_study(tracking_uri, "digits").trials
    assert search.curve("loss") == ((), ())
    assert confirm.curve("loss") == ((640, 1280), (0.5, 0.25))


def _report(trial_id: str, size: int, seed: int, epoch: int) -> EpochReport:
    loss = 2 * math.exp(-epoch / math.sqrt(size)) + 0.002 * ((epoch * 7 + seed * 3) % 5)
    metrics = {"loss": loss, "val_loss": loss + 0.1, "val_accuracy": 1 - loss / 2}
    return EpochReport(trial_id, epoch, 640 * epoch, 640 * epoch // size, metrics, 0.25 * epoch)


def test_energy_is_read_back_and_why_there_is_none(tracking_uri: str) -> None:
    tracker = study(tracking_uri)
    energy = {"energy_joules": 120.0, "mean_watts": 60.0, "joules_per_example": 0.1}
    record(tracker, "0", TrialOutcome("0", Status.COMPLETED, measurements={"idle_watts": 21.0}, **energy))
    record(tracker, "1", TrialOutcome("1", Status.COMPLETED, energy_note="there is no counter"), seed=2)
    first, second = (trial.outcome for trial in read_study(tracking_uri, "digits").trials)
    assert first is not None
    assert second is not None
    assert {name: getattr(first, name) for name in energy} == energy
    assert (first.measurements, first.energy_note) == ({"idle_watts": 21.0}, "")
    assert (second.energy_joules, second.joules_per_example, second.energy_note) == (None, None, "there is no counter")


def test_the_score_is_read_of_the_epoch_whose_weights_were_kept(tracking_uri: str) -> None:
    kept = TrialOutcome("0", Status.COMPLETED, weights_epoch=2, settings={"weights_epoch": 2})
    record(study(tracking_uri), "0", kept, accuracies=(0.5, 0.9, 0.75))
    (trial,) = read_study(tracking_uri, "digits").trials
    assert (trial.score, trial.outcome and trial.outcome.weights_epoch) == (0.9, 2)


def test_a_score_that_never_reached_the_store_is_unknown(tracking_uri: str) -> None:
    tracker = study(tracking_uri)
    record(tracker, "0", TrialOutcome("0", Status.COMPLETED), accuracies=(0.5, 0.6))
    kept = TrialOutcome("1", Status.COMPLETED, weights_epoch=3, settings={"weights_epoch": 3})
    record(tracker, "1", kept, accuracies=(0.5,), seed=2)
    assert [trial.score for trial in read_study(tracking_uri, "digits").trials] == [0.6, None]


def test_a_failed_trial_has_its_reason_and_no_objective(tracking_uri: str) -> None:
    record(study(tracking_uri), "0", TrialOutcome("0", Status.DIVERGED, "loss is NaN"), learning_rate=None)
    (trial,) = read_study(tracking_uri, "digits").trials
    assert (trial.status, trial.reason, trial.score) == (Status.DIVERGED, "loss is NaN", None)
    assert trial.learning_rate is None
    assert trial.curve("val_accuracy") == ((640, 1280), (0.5, 0.75))


def test_what_is_no_trial_is_not_read(tracking_uri: str) -> None:
    tracker = study(tracking_uri)
    tracker.measured(Measurement("memory", {"batch_size": 8}, {"val_accuracy": 0.1}))
    record(tracker, "0", TrialOutcome("0", Status.COMPLETED), stage="confirm")
    record(tracker, "1", TrialOutcome("1", Status.INTERRUPTED, "Ctrl-C"))
    record(tracker, "2", None)
    tracker.recommended({}, "32")
    read = read_study(tracking_uri, "digits")
    assert [(trial.status, trial.stage) for trial in read.trials] == [
        (Status.COMPLETED, "confirm"),
        (Status.INTERRUPTED, "search"),
    ]
    (note,) = read.notes
    assert note.startswith("1 run not complete (still running, or not delivered yet; `batch-size pick` where")


def test_a_study_without_a_completed_trial_is_read_all_the_same(tracking_uri: str) -> None:
    record(study(tracking_uri), "0", TrialOutcome("0", Status.FAILED, "typo"), accuracies=())
    assert [trial.status for trial in read_study(tracking_uri, "digits").trials] == [Status.FAILED]


def test_more_runs_than_a_page_holds_are_read(tracking_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = study(tracking_uri)
    for number in range(7):
        record(tracker, str(number), TrialOutcome(str(number), Status.COMPLETED), seed=number, accuracies=(0.5,))
    monkeypatch.setattr(experiments, "_PAGE", 3)
    assert sorted(trial.seed for trial in read_study(tracking_uri, "digits").trials) == list(range(7))


def test_the_latest_study_is_the_one_written_to_last(tracking_uri: str) -> None:
    first, _ = study(tracking_uri, "first"), study(tracking_uri, "second")
    assert latest_study(tracking_uri) == "second"
    first.recommended({}, "32")
    first.close()
    assert latest_study(tracking_uri) == "first"


def test_a_store_without_a_study_says_what_it_has(tracking_uri: str) -> None:
    with pytest.raises(TrackingError, match=r"holds no study yet; it has the experiments 'Default'\. Run a search"):
        latest_study(tracking_uri)


def test_an_unknown_study_says_which_there_are(tracking_uri: str) -> None:
    study(tracking_uri)
    with pytest.raises(TrackingError, match=r"no MLflow experiment 'digit'; there are: 'digits', 'Default'"):
        read_study(tracking_uri, "digit")


def test_an_experiment_of_another_program_is_no_study(tracking_uri: str) -> None:
    with pytest.raises(TrackingError, match=r"'Default' is not a study of batch-size. Name the runs' values with"):
        read_study(tracking_uri, "Default")


@pytest.mark.parametrize(
    "read", [latest_study, lambda uri: read_study(uri, "x"), lambda uri: read_foreign(uri, "x", metric="acc")]
)
def test_reading_creates_no_store(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(TrackingError, match=r"There is no MLflow store at"):
        read(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


class Theirs:
    """An experiment in which another program logs."""

    def __init__(self, uri: str) -> None:
        self.client = MlflowClient(uri)
        self.experiment_id = self.client.create_experiment("theirs")
        self.started = 1_000

    def log(
        self, params: Mapping[str, object], metrics: Mapping[str, list[float]], status: str | None = "FINISHED"
    ) -> None:
        self.started += 10
        run_id = self.client.create_run(self.experiment_id, start_time=self.started).info.run_id
        values = [Metric(name, value, 0, step) for name, curve in metrics.items() for step, value in enumerate(curve)]
        self.client.log_batch(run_id, values, [Param(name, str(value)) for name, value in params.items()])
        if status is not None:
            self.client.set_terminated(run_id, status, self.started + 2500)


@pytest.fixture
def theirs(tracking_uri: str) -> Theirs:
    return Theirs(tracking_uri)


def test_runs_of_any_program_are_read(theirs: Theirs, tracking_uri: str) -> None:
    theirs.log({"bs": 32, "lr": "1e-3", "seed": 7}, {"acc": [0.5, 0.9]})
    theirs.log({"bs": "64.0", "seed": 8}, {"acc": [0.8], "seconds": [3.0], "peak_memory_bytes": [9.0]})
    theirs.log({"bs": 64, "seed": 9}, {"acc": [0.7]}, "FAILED")
    theirs.log({"bs": 64, "seed": 10}, {"acc": [0.7]}, "KILLED")
    read = read_foreign(tracking_uri, "theirs", param="bs", metric="acc")
    assert (read.objective, read.notes) == (Objective("acc"), ())
    assert read.trials == (
        finished_trial(32, 7, 0.9, learning_rate=0.001, seconds=2.5),
        finished_trial(64, 8, 0.8, seconds=3.0, peak_memory_bytes=9),
        finished_trial(64, 9, None, status=Status.FAILED),
        finished_trial(64, 10, None, status=Status.INTERRUPTED),
    )


def test_a_learning_rate_that_is_no_rate_is_unknown(theirs: Theirs, tracking_uri: str) -> None:
    theirs.log({"batch_size": 8, "learning_rate": 0, "lr": 0.5}, {"acc": [0.5]})
    theirs.log({"batch_size": 16, "learning_rate": "-1"}, {"acc": [0.5]})
    read = read_foreign(tracking_uri, "theirs", metric="acc")
    assert [trial.learning_rate for trial in read.trials] == [0.5, None]


def test_runs_that_tell_too_little_are_counted_by_reason(theirs: Theirs, tracking_uri: str) -> None:
    theirs.log({"batch_size": 32}, {"val_loss": [0.5]})
    theirs.log({"batch_size": "None"}, {"val_loss": [0.5]})
    theirs.log({"batch_size": "-4"}, {"val_loss": [0.5]})
    theirs.log({}, {"val_loss": [0.5]})
    theirs.log({"batch_size": 8}, {"loss": [0.5]})
    theirs.log({"batch_size": 8}, {"val_loss": [0.5]}, None)
    read = read_foreign(tracking_uri, "theirs", metric="val_loss")
    assert len(read.trials) == 1
    assert read.objective.direction == "min"
    assert set(read.notes) == {
        "2 runs whose 'batch_size' is not a whole number of at least 1, left out.",
        "1 run without the param 'batch_size', left out.",
        "1 run without the metric 'val_loss', left out.",
        "1 run still running, left out.",
    }


@pytest.mark.parametrize("seeds", [(None, None, None, None), (5, 5, 5, 5), (5, None, 6, 7)])
def test_repeats_without_telling_seeds_are_numbered(
    theirs: Theirs, tracking_uri: str, seeds: tuple[int | None, ...]
) -> None:
    for batch_size, seed in zip((8, 16, 8, 16), seeds, strict=True):
        theirs.log({"batch_size": batch_size} | ({} if seed is None else {"seed": seed}), {"acc": [0.5]})
    read = read_foreign(tracking_uri, "theirs", metric="acc")
    assert [(trial.batch_size, trial.seed) for trial in read.trials] == [(8, 0), (16, 0), (8, 1), (16, 1)]


def test_other_params_that_vary_are_named(theirs: Theirs, tracking_uri: str) -> None:
    for batch_size, dropout in ((8, 0.1), (16, 0.2)):
        theirs.log({"batch_size": batch_size, "dropout": dropout, "optimizer": "adam"}, {"acc": [0.5]})
    (note,) = read_foreign(tracking_uri, "theirs", metric="acc").notes
    assert note == "These params vary between the runs, too, and are not taken into account: dropout."


def test_a_metric_or_param_that_no_run_has_says_which_they_have(theirs: Theirs, tracking_uri: str) -> None:
    theirs.log({"bs": 8, "lr": 0.1}, {"acc": [0.5], "loss": [0.1]})
    with pytest.raises(TrackingError, match=r"No run has the metric 'val_acc'; the metrics logged are: acc, loss"):
        read_foreign(tracking_uri, "theirs", param="bs", metric="val_acc")
    with pytest.raises(TrackingError, match=r"No run has the param 'batch_size'; the params logged are: bs, lr"):
        read_foreign(tracking_uri, "theirs", metric="acc")


def test_a_direction_that_the_name_does_not_tell_must_be_told(theirs: Theirs, tracking_uri: str) -> None:
    theirs.log({"batch_size": 8}, {"niceness": [0.5]})
    with pytest.raises(TrackingError, match=r"'niceness' is better must be told; got None. Use --mode max or"):
        read_foreign(tracking_uri, "theirs", metric="niceness")
    assert read_foreign(tracking_uri, "theirs", metric="niceness", mode="max").objective == Objective("niceness")


def test_our_own_study_can_be_read_for_another_metric(tracking_uri: str) -> None:
    tracker = study(tracking_uri)
    tracker.measured(Measurement("memory", {"batch_size": 8}, {"val_accuracy": 0.1}))
    record(tracker, "0", TrialOutcome("0", Status.COMPLETED))
    read = read_foreign(tracking_uri, "digits", metric="loss")
    assert read.objective.direction == "min"
    assert [trial.curve("loss")[1] for trial in read.trials] == [(0.5, 0.25)]
    with pytest.raises(TrackingError, match=r"the metric .val_loss.; the metrics logged are: best_epoch, epo"):
        read_foreign(tracking_uri, "digits", metric="val_loss")
