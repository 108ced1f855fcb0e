"""Trials read back from MLflow: those of our own studies, and those that any other program logged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run

from tuning.objective import DIRECTIONS, Objective, infer_direction
from tuning.record import experiments, layout
from tuning.record.foreign_runs import ENDED, IDLE_WATTS, check_logged, counted, energy_of, number_in, trials_of
from tuning.record.store import TrackingError, answers, connect, resolve_tracking_uri
from tuning.stats.kinds import DEVICE_KIND, of_kind
from tuning.trial import CONFIRM, Status, Trial, finished_trial


@dataclass(frozen=True)
class StudyRecord:
    """What MLflow holds of a search.

    Args:
        study: The experiment's name.
        tracking_uri: The store.
        experiment_id: The experiment.
        objective: The metric that is compared, and which way is better.
        trials: The trials that ended, interrupted ones included (with that status), in the order of starting.
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
    """Return the name of the study that was written to last.

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
    """Read a study that this package recorded; measurements and the recommendation are no trials.

    A trial that still runs is left out and counted. The score of a completed trial is the metric's value after the
    last epoch; its curve's axis is examples seen.

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

    A run's score is the metric's last value. Its learning rate is the param `learning_rate` or `lr`; its seconds,
    throughput and memory are the metrics `seconds`, `examples_per_second` and `peak_memory_bytes`, or, for seconds, the
    run's duration; its energy is `joules_per_example` or `energy_joules`. Seeds are the param `seed` if that tells the
    repeats of a setting apart in every run, else repeats are numbered in the order of starting: their noise is then
    known, but they are not paired. A study of our own is read as `read_study` does, with another objective.

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
        objective = _objective(metric, mode)
        if experiments.is_ours(found) and param == "batch_size":
            return _read_own(client, found, objective)
        runs = experiments.all_runs(client, found.experiment_id)
    trials, notes = trials_of(runs, param, metric)
    return StudyRecord(experiment, uri, found.experiment_id, objective, trials, {}, notes)


_INCOMPLETE = "not complete (still running, or not delivered yet; `batch-size pick` where it was searched delivers)"


def _read_own(client: MlflowClient, experiment: Experiment, objective: Objective) -> StudyRecord:
    # Only a trial's run has a trial's id: not a measurement's, and not the recommendation's.
    runs = [run for run in experiments.all_runs(client, experiment.experiment_id) if layout.TRIAL_ID in run.data.tags]
    ended = [run for run in runs if run.info.status in ENDED and layout.STATUS in run.data.tags]
    completed = [run for run in ended if run.data.tags[layout.STATUS] == Status.COMPLETED]
    if completed:
        check_logged("metric", objective.name, {name for run in completed for name in run.data.metrics})
    judging = {run.info.run_id for run in _judging(completed)}
    settings = experiments.settings_of(experiment)
    trials = [_own_trial(client, run, objective.name, with_losses=run.info.run_id in judging) for run in ended]
    return StudyRecord(
        experiment.name,
        client.tracking_uri,
        experiment.experiment_id,
        objective,
        trials=tuple(of_kind(trials, settings.get(DEVICE_KIND, ""))),
        settings=settings,
        notes=counted({_INCOMPLETE: len(runs) - len(ended)}),
    )


def _judging(completed: Sequence[Run]) -> list[Run]:
    """Return the runs that their batch size can be judged by: of stage "confirm", where it has any.

    The losses of the others are not read: each costs two calls to the store, and no answer tells of them.
    """
    confirmed = {run.data.params["batch_size"] for run in completed if run.data.tags[layout.STAGE] == CONFIRM}
    return [
        run
        for run in completed
        if run.data.tags[layout.STAGE] == CONFIRM or run.data.params["batch_size"] not in confirmed
    ]


def _own_trial(client: MlflowClient, run: Run, metric: str, *, with_losses: bool) -> Trial:
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    status = Status(tags[layout.STATUS])
    curve = _curve(client, run, metric)
    memory = metrics.get("peak_memory_bytes")
    kept = int(params["weights_epoch"]) if "weights_epoch" in params else None
    # An epoch that never reached the store leaves the score of the weights unknown.
    score = metrics.get(metric) if kept is None else dict(enumerate(curve.values(), start=1)).get(kept)
    return finished_trial(
        int(params["batch_size"]),
        int(params.get("seed", 0)),
        score if status is Status.COMPLETED else None,
        status=status,
        learning_rate=number_in(params.get("learning_rate")),
        hyperparameters=dict(layout.hyperparameters_of(params, tags)),
        stage=tags[layout.STAGE],
        metric=metric,
        curve=tuple(curve.items()),
        losses=_losses(client, run) if with_losses else {},
        epochs=int(params["epochs"]) if "epochs" in params else None,
        trial_id=tags[layout.TRIAL_ID],
        reason=tags.get(layout.REASON, ""),
        seconds=metrics.get("seconds"),
        examples_per_second=metrics.get("examples_per_second"),
        peak_memory_bytes=None if memory is None else int(memory),
        weights_epoch=kept,
        energy_note=tags.get(layout.ENERGY_NOTE, ""),
        settings={DEVICE_KIND: params[DEVICE_KIND]} if DEVICE_KIND in params else {},
        measurements={IDLE_WATTS: metrics[IDLE_WATTS]} if IDLE_WATTS in metrics else {},
        **energy_of(metrics),
    )


def _curve(client: MlflowClient, run: Run, metric: str) -> dict[int, float]:
    """Return a metric by examples seen; what was logged twice at one step counts as it was logged last."""
    history = client.get_metric_history(run.info.run_id, metric) if metric in run.data.metrics else []
    return {point.step: point.value for point in sorted(history, key=lambda point: (point.step, point.timestamp))}


def _losses(client: MlflowClient, run: Run) -> dict[int, dict[str, float]]:
    """Return the training and the validation loss by examples seen."""
    losses: dict[int, dict[str, float]] = defaultdict(dict)
    for name in ("loss", "val_loss"):
        for seen, value in _curve(client, run, name).items():
            losses[seen][name] = value
    return losses


def _objective(metric: str, mode: str | None) -> Objective:
    direction = mode or infer_direction(metric)
    if direction not in DIRECTIONS:
        raise TrackingError(
            f"Whether more or less of {metric!r} is better must be told; got {mode!r}. Use --mode max or --mode min."
        )
    return Objective(metric, direction)
