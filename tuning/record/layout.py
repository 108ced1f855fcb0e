"""The names of the tags, params and metrics of our MLflow runs, written and read back."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from mlflow.entities import Metric, Param, RunTag

from tuning.messages import Measurement
from tuning.objective import Objective
from tuning.record.mlflow_private import NOTE as NOTE
from tuning.record.mlflow_private import RUN_COLOR as RUN_COLOR
from tuning.stats.curves import course_of, curve_facts
from tuning.stats.diagnoses import ENDS, diagnose
from tuning.trial import EpochReport, Hyperparameters, HyperparameterValue, Status, Trial, TrialOutcome

TRIAL_ID = "batch_size.trial_id"
STATUS = "batch_size.status"
REASON = "batch_size.reason"
STAGE = "batch_size.stage"
HYPERPARAMETERS = "batch_size.hyperparameters"
SETTINGS = "batch_size.settings."
STUDY = "batch_size.study"
UPDATED = "batch_size.updated"
RECOMMENDATION = "recommendation"
MEASUREMENT = "measurement"
"""The stage of a run that holds a measurement; such a run is no trial and has no trial's id."""
MEASURED = "batch_size.measured"
"""The tag that names what such a run has measured."""
OBJECTIVE = "objective"
TARGET = "judged_by_target"
THROUGHPUT = "judged_by_examples_per_second"
THROUGHPUT_ERRORS = "judged_by_errors_of_examples_per_second"
LOG_TAIL = "log_tail.txt"
ENERGY_NOTE = "batch_size.energy_note"
"""The tag that says why the energy of a trial is unknown."""

DECIDES, YES = "batch_size.decides", "true"
"""The tag of the runs whose scores are in the answer's table: those that the saved view shows."""
ANSWER = "answer/"
"""The beginning of the names of the metrics that repeat, in the runs that decided, what the answer's table says."""

TREND = "batch_size.trend"
"""The tag that names how the training of a trial ended, such as "still improving"."""
DIAGNOSIS = "batch_size.diagnosis"
"""The tag that says in words what the course of a trial shows."""

# A param that a trial starts with and that is none of these is a hyperparameter of the model.
OWN_PARAMS = frozenset({"batch_size", "learning_rate", "seed", "epochs", "loop", "evaluation_batch_size"})

_NOT_IN_NAMES = re.compile(r"[^\w\-./: ]", re.ASCII)
_LONGEST_NAME = 250
_LONGEST_TAG = 5000  # 8000 for a run's and 20000 for an experiment's in MLflow 3.17; 5000 in earlier servers
_LONGEST_PARAM = 6000

# Okabe and Ito's colours, which all people can tell apart; completed trials are told apart by their batch sizes.
_GREY = "#999999"
_COLORS = {
    Status.OUT_OF_MEMORY: "#E69F00",
    Status.DIVERGED: "#D55E00",
    Status.FAILED: "#000000",
}
_LIGHTEST, _DARKEST = (190, 220, 240), (0, 50, 110)  # of completed trials: blue, darker as batch sizes grow
_SHADES = 12

_RUN_STATUS = {
    Status.COMPLETED: "FINISHED",
    Status.PRUNED: "KILLED",
    Status.INTERRUPTED: "KILLED",
    Status.LOST: "KILLED",
    Status.OUT_OF_MEMORY: "FAILED",
    Status.DIVERGED: "FAILED",
    Status.FAILED: "FAILED",
}


def run_status(status: Status) -> str:
    """Return MLflow's own status for a trial that ended so: FINISHED, KILLED (stopped from outside) or FAILED."""
    return _RUN_STATUS[status]


def run_name(trial: Trial) -> str:
    """Return the name under which the UI lists a trial, for example "batch 32, lr 0.001, seed 0"."""
    rate = "" if trial.learning_rate is None else f"lr {trial.learning_rate:.3g}, "
    return f"batch {trial.batch_size}, {rate}seed {trial.seed}"


def trial_params(trial: Trial) -> dict[str, HyperparameterValue]:
    """Return the params that a trial starts with; its hyperparameters among them, and nothing that is None."""
    # The model's hyperparameters come first, so that none of them hides one of our own names.
    values = dict(trial.hyperparameters) | {
        "batch_size": trial.batch_size,
        "learning_rate": trial.learning_rate,
        "seed": trial.seed,
        "epochs": trial.budget.epochs,
    }
    return {name: value for name, value in values.items() if value is not None}


def as_params(values: Mapping[str, HyperparameterValue]) -> list[Param]:
    """Return MLflow params; a value that is None is left out."""
    return [
        Param(clean_name(name), _cut(str(value), _LONGEST_PARAM)) for name, value in values.items() if value is not None
    ]


def as_tags(values: Mapping[str, str]) -> list[RunTag]:
    """Return MLflow run tags, cut to the length that a store takes."""
    return [RunTag(clean_name(name), cut_tag(value)) for name, value in values.items()]


def as_metrics(values: Mapping[str, float | None], timestamp_ms: int, step: int) -> list[Metric]:
    """Return MLflow metrics at one step; a value that is None is left out, and an infinity becomes NaN.

    MLflow would store an infinity as the largest float, which flattens every chart it appears in.
    """
    return [
        Metric(clean_name(name), value if math.isfinite(value) else math.nan, timestamp_ms, step)
        for name, value in ((name, float(value)) for name, value in values.items() if value is not None)
    ]


def start_tags(trial: Trial) -> dict[str, str]:
    """Return the tags with which a trial's run is created; its hyperparameters are JSON, so that types survive."""
    hyperparameters = json.dumps(dict(trial.hyperparameters), sort_keys=True)
    shown = {TRIAL_ID: trial.trial_id, STAGE: trial.stage, HYPERPARAMETERS: hyperparameters}
    return {**shown, RUN_COLOR: _blue(trial.batch_size)}


def _blue(batch_size: int) -> str:
    """Return the colour of a batch size: the darker, the larger it is, up to 2^12."""
    share = min(1.0, math.log2(batch_size) / _SHADES)
    return "#" + "".join(
        f"{round(light + share * (dark - light)):02X}" for light, dark in zip(_LIGHTEST, _DARKEST, strict=True)
    )


def measurement_tags(measurement: Measurement) -> dict[str, str]:
    """Return the tags of a measurement's run; the page of one that failed says why in its description."""
    tags = {STAGE: MEASUREMENT, MEASURED: clean_name(measurement.name)}
    if measurement.reason:
        tags |= {REASON: measurement.reason, NOTE: f"**not measured**: {measurement.reason}"}
    return tags


def measurement_metrics(measurement: Measurement, timestamp_ms: int) -> list[Metric]:
    """Return a measurement's values at step 0, and the points of its series at their own steps."""
    metrics = as_metrics(measurement.values, timestamp_ms, 0)
    for name, value, step in measurement.series:
        metrics += as_metrics({name: value}, timestamp_ms, step)
    return metrics


def epoch_values(report: EpochReport, previous: EpochReport | None) -> dict[str, float]:
    """Return what one epoch measured, its own training throughput included.

    `examples_per_second` = examples since the previous report / training seconds since then.
    """
    values = {str(name): float(value) for name, value in report.metrics.items()}
    values |= {"epoch": report.epoch, "examples_seen": report.examples_seen, "updates": report.updates}
    examples = report.examples_seen - (previous.examples_seen if previous else 0)
    seconds = report.seconds - (previous.seconds if previous else 0.0)
    if examples > 0 and seconds > 0:
        values["examples_per_second"] = examples / seconds
    return values


def outcome_metrics(outcome: TrialOutcome, last: EpochReport | None, timestamp_ms: int) -> list[Metric]:
    """Return what a trial measured once as a whole, at step 0, so that MLflow draws bars of it.

    A metric that its epochs have, too (its throughput, whose last value is then the steady one), goes to the last step.
    """
    values = dict(outcome.measurements) | {
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "seconds": outcome.seconds,
        "compile_seconds": outcome.compile_seconds,
        "examples_per_second": outcome.examples_per_second,
        "energy_joules": outcome.energy_joules,
        "mean_watts": outcome.mean_watts,
        "joules_per_example": outcome.joules_per_example,
    }
    by_epoch = epoch_values(last, None).keys() if last else ()
    again = {name: value for name, value in values.items() if name in by_epoch}
    once = {name: value for name, value in values.items() if name not in by_epoch}
    step = last.examples_seen if last else 0
    return as_metrics(once, timestamp_ms, 0) + as_metrics(again, timestamp_ms, step)


def answer_metrics(numbers: Mapping[str, float], timestamp_ms: int) -> list[Metric]:
    """Return what the answer's table says of the row of a run, as metrics of that run."""
    return as_metrics({f"{ANSWER}{name}": value for name, value in numbers.items()}, timestamp_ms, 0)


def outcome_params(outcome: TrialOutcome, logged: Mapping[str, HyperparameterValue]) -> dict[str, HyperparameterValue]:
    """Return the params known only at the end: the loop that trained and `outcome.settings`.

    MLflow refuses to change a param, so a setting that differs from what the trial was asked for gets the suffix
    `_used`.
    """
    values = dict(outcome.settings)
    if outcome.loop:
        values["loop"] = outcome.loop
    return {
        (name if name not in logged or logged[name] == value else f"{name}_used"): value
        for name, value in values.items()
    }


def outcome_tags(outcome: TrialOutcome) -> dict[str, str]:
    """Return the tags of a trial that ended; one that did not complete says why in the description of its page."""
    tags = {STATUS: outcome.status.value, REASON: outcome.reason}
    if outcome.status is not Status.COMPLETED:
        tags[RUN_COLOR] = _COLORS.get(outcome.status, _GREY)
    if outcome.energy_note:
        tags[ENERGY_NOTE] = outcome.energy_note
    if outcome.status is not Status.COMPLETED:
        tags[NOTE] = f"**{outcome.status.value}**: {outcome.reason or 'no reason given'}"
        if outcome.log_tail:
            tags[NOTE] += f"\n\n```\n{outcome.log_tail[-3000:]}\n```"
    return tags


def course(trial: Trial, objective: Objective) -> tuple[dict[str, float], dict[str, str]]:
    """Return what a trial's course is shown with, as numbers and as tags.

    The numbers are those of `CurveFacts.measurements` that are known. The tags say of a completed training how it
    ended, in a word and in words; there are none where no rule says it.
    """
    facts = curve_facts(course_of(trial, objective))
    numbers = {name: value for name, value in facts.measurements.items() if value is not None}
    found = diagnose(facts, objective.name) if trial.status is Status.COMPLETED else ()
    tags = {DIAGNOSIS: "; ".join(each.text for each in found)} if found else {}
    end = next((each.kind.value for each in found if each.kind in ENDS), None)
    return numbers, tags if end is None else {TREND: end, **tags}


def objective_of(settings: Mapping[str, str]) -> Objective | None:
    """Return the metric that a study compares, of its settings; None where they do not tell."""
    return Objective(settings["objective"], settings.get("mode", "max")) if "objective" in settings else None


def note(markdown: str, link: str, views: Mapping[str, str] | None = None) -> str:
    """Return an experiment's description with links, cut after a whole line if it is too long.

    Its first line is all that MLflow shows of it at first, also on the page for traces, where MLflow's home leads: so
    the views are linked there.

    Args:
        markdown: The recommendation in words; its first line says what to train with.
        link: The address of the files.
        views: The addresses of views, by name.
    """
    first, _, rest = markdown.partition("\n")
    if views:
        first += " " + ", ".join(f"[{name}]({address})" for name, address in views.items())
    markdown = f"{first}\n{rest}"
    end = f"\n\n[Files of the recommendation]({link})\n"
    if len(markdown) + len(end) <= _LONGEST_TAG:
        return markdown.rstrip() + end
    end = f"\n\n… the rest is in `report.md`.{end}"
    return markdown[: _LONGEST_TAG - len(end)].rpartition("\n")[0] + end


def clean_name(name: str) -> str:
    """Return a name that MLflow accepts.

    Other characters than letters, digits and `_-./: ` become `_`, and a path with detours is made plain.
    """
    return posixpath.normpath(_NOT_IN_NAMES.sub("_", name)).lstrip("./")[:_LONGEST_NAME] or "_"


def cut_tag(value: str) -> str:
    """Return a tag's value, cut to what every server takes."""
    return _cut(value, _LONGEST_TAG)


def parse_value(text: str) -> HyperparameterValue:
    """Return a param as it was before MLflow made it text: int, float, bool or str."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def hyperparameters_of(params: Mapping[str, str], tags: Mapping[str, str]) -> Hyperparameters:
    """Return the model's own hyperparameters of one of our runs, sorted by name."""
    try:
        values: dict[str, Any] = json.loads(tags.get(HYPERPARAMETERS, ""))
    except ValueError:
        values = {name: parse_value(value) for name, value in params.items() if name not in OWN_PARAMS}
    return tuple(sorted((name, value) for name, value in values.items() if value is not None))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
