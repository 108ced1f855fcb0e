"""Trials read back from MLflow: those of our own studies, and those that any other program logged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run

from tuning.objective import DIRECTIONS, Objective, infer_direction
from tuning.record import experiments, layout
from tuning.record.foreign_runs import ENDED, check_logged, counted, number_in, trials_of
from tuning.record.store import TrackingError, answers, connect, resolve_tracking_uri
from tuning.trial import Status, Trial, finished_trial


@dataclass(frozen=True)
class StudyRecord:
    """What MLflow holds of a search.

    Args:
        study: The experiment's name.
        tracking_uri: The store.
        experiment_id: The experiment.
        objective: The metric that is compared.
        trials: Those that ended, interrupted ones included (with that status), in the order of starting.
        settings: What the search was started with; empty for runs of other programs.
        notes: What was left out and why, one line each.
    """

    study: str
    tracking_uri: str
    experiment_id: str
    objective: Objective
    trials: tuple[Trial, ...]
    settings: Mapping[str, str]
    notes: tuple[str, ...] = ()


def latest_study(tracking_uri: str | None = None) -> str:
    """The name of the study that was written to last.

    Raises:
        TrackingError: If the store does not exist or holds none.
    """
    uri = resolve_tracking_uri(tracking_uri)
    with answers(uri):
        client = connect(uri)
        found = experiments.our_experiments(client)
        if not found:
            others = experiments.names(client)
            raise TrackingError(
                f"The MLflow store at {uri} holds no study yet; it has the experiments {others}. Run a search, "
                "or pick from another program's runs with --experiment, --param and --metric."
            )
    return found[0].name


def read_study(tracking_uri: str | None, study: str) -> StudyRecord:
    """Read a study that this package recorded; probes, the recommendation and running trials are no trials.

    The objective of a completed trial is the metric's value after the last epoch; its curve's axis is examples seen.

    Raises:
        TrackingError: If the store or the study does not exist, or it is not one of ours.
    """
    uri = resolve_tracking_uri(tracking_uri)
    with answers(uri):
        client = connect(uri)
        experiment = experiments.find_experiment(client, study)
        settings = experiments.settings_of(experiment)
        if not experiments.is_ours(experiment) or "objective" not in settings:
            raise TrackingError(
                f"The MLflow experiment {study!r} is not a study of batch-size. "
                "Name the runs' values with --experiment, --param and --metric."
            )
        return _read_own(client, experiment, _objective(settings["objective"], settings.get("mode")))


def read_foreign(
    tracking_uri: str | None,
    experiment: str,
    *,
    param: str = "batch_size",
    metric: str,
    mode: str | None = None,
) -> StudyRecord:
    """Read the runs that any program logged, as far as they tell a batch size.

    A run's objective is the metric's last value. Its learning rate is the param `learning_rate` or `lr`; its seconds,
    throughput and memory are the metrics `seconds`, `examples_per_second` and `peak_memory_bytes`, or, for seconds, the
    run's duration. Seeds are the param `seed` if that tells the repeats of a setting apart in every run, else
    repeats are numbered in the order of starting: their noise is then known, but they are not paired. A study of
    our own is read as `read_study` does, with another objective.

    Args:
        tracking_uri: As `resolve_tracking_uri` takes it.
        experiment: The MLflow experiment's name.
        param: The param that holds the batch size; runs without one, or with none that is a whole number, are left
            out and counted in `notes`.
        metric: The metric to compare.
        mode: "max" or "min"; None infers it from names such as `val_accuracy` or `loss`.

    Raises:
        TrackingError: If the store or the experiment does not exist, no run has the param or the metric, or the mode
            cannot be inferred.
    """
    uri = resolve_tracking_uri(tracking_uri)
    with answers(uri):
        client = connect(uri)
        found = experiments.find_experiment(client, experiment)
        chosen = _objective(metric, mode)
        if experiments.is_ours(found) and param == "batch_size":
            return _read_own(client, found, chosen)
        runs = experiments.all_runs(client, found.experiment_id)
    trials, notes = trials_of(runs, param, metric)
    return StudyRecord(experiment, uri, found.experiment_id, chosen, trials, {}, notes)


def _read_own(client: MlflowClient, experiment: Experiment, objective: Objective) -> StudyRecord:
    trials = [run for run in experiments.all_runs(client, experiment.experiment_id) if _is_trial(run)]
    ended = [run for run in trials if run.info.status in ENDED and layout.STATUS in run.data.tags]
    completed = [run for run in ended if run.data.tags[layout.STATUS] == Status.COMPLETED]
    if completed:
        check_logged("metric", objective.name, {name for run in completed for name in run.data.metrics})
    return StudyRecord(
        experiment.name,
        client.tracking_uri,
        experiment.experiment_id,
        objective,
        trials=tuple(_own_trial(client, run, objective.name) for run in ended),
        settings=experiments.settings_of(experiment),
        notes=counted({"still running": len(trials) - len(ended)}),
    )


def _is_trial(run: Run) -> bool:
    return layout.TRIAL_ID in run.data.tags


def _own_trial(client: MlflowClient, run: Run, metric: str) -> Trial:
    status = Status(run.data.tags[layout.STATUS])
    history = client.get_metric_history(run.info.run_id, metric) if metric in run.data.metrics else []
    curve = {point.step: point.value for point in sorted(history, key=lambda point: (point.step, point.timestamp))}
    return finished_trial(
        int(run.data.params["batch_size"]),
        int(run.data.params.get("seed", 0)),
        run.data.metrics.get(metric) if status is Status.COMPLETED else None,
        status=status,
        learning_rate=number_in(run.data.params.get("learning_rate")),
        hyperparameters=dict(layout.hyperparameters_of(run.data.params, run.data.tags)),
        stage=run.data.tags[layout.STAGE],
        metric=metric,
        curve=tuple(curve.items()),
        trial_id=run.data.tags[layout.TRIAL_ID],
        reason=run.data.tags.get(layout.REASON, ""),
        seconds=run.data.metrics.get("seconds"),
        examples_per_second=run.data.metrics.get("examples_per_second"),
        peak_memory_bytes=run.data.metrics.get("peak_memory_bytes"),
    )


def _objective(metric: str, mode: str | None) -> Objective:
    chosen = mode or infer_direction(metric)
    if chosen not in DIRECTIONS:
        raise TrackingError(
            f"Whether more or less of {metric!r} is better must be told; got {mode!r}. Use --mode max or --mode min."
        )
    return Objective(metric, chosen)
