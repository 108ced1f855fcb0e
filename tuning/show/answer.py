"""Answer: the recommendation of a search as a table, as Markdown, as JSON and as HTML."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tuning.machine.advice import TrainingAdvice
from tuning.passwords import without_passwords
from tuning.record.layout import TARGET, THROUGHPUT, THROUGHPUT_ERRORS
from tuning.record.reading import StudyRecord
from tuning.show.canvas import heading, image_tag, paragraphs, sketch, table, warnings
from tuning.show.next_command import proceed
from tuning.show.schema import SCHEMA_VERSION
from tuning.show.score_figures import draw_quality, draw_trade_off
from tuning.show.snippet import essential, script_of
from tuning.stats.kinds import DEVICE_KIND
from tuning.stats.recommendation import Recommendation, recommend
from tuning.stats.table import cells, columns_of
from tuning.stats.trade_offs import TradeOffs

_MOST_OBSERVATIONS = 3  # in a terminal; the report and `--json` have all


@dataclass(frozen=True)
class Answer:
    """A recommendation and where its trials are.

    Args:
        recommendation: The batch size and learning rate to train with, and why.
        study: The name of the search.
        tracking_uri: MLflow's store; empty if nothing was tracked.
        experiment_id: The study's experiment there.
        advice: How to train the final model, where that was measured.
        trade_offs: The Pareto set, where several objectives were asked for.
        following: What followed the batch size and how, by what it is, from `followed`.
        machine: The devices that trained and the versions there, a line each, from `machine_of`.
        proceeds: A line with the command that would settle what is open, from `proceed`; empty for none.
        script: The recommended setting in plain Keras, from `script_of`; empty for none.
        device_kind: The kind of device that the answer holds for, where trials ran on several; empty if on one.
    """

    recommendation: Recommendation
    study: str
    tracking_uri: str
    experiment_id: str
    advice: TrainingAdvice | None = None
    trade_offs: TradeOffs | None = None
    following: Mapping[str, str] = field(default_factory=dict)
    machine: tuple[str, ...] = ()
    proceeds: str = ""
    script: str = ""
    device_kind: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return one object of plain JSON values; null where something is unknown."""
        found = self.recommendation.to_json()
        del found["comparison"]  # means and errors are in the table
        first = {
            "schema_version": SCHEMA_VERSION,
            "study": self.study,
            "tracking_uri": without_passwords(self.tracking_uri),
            "experiment_id": self.experiment_id,
            "rule": found.pop("rule"),
            "recommended_batch_size": found.pop("batch_size"),
        }
        training = None if self.advice is None else self.advice.to_json()
        pareto = {} if self.trade_offs is None else {"pareto": self.trade_offs.to_json()}
        named = {"follows_batch_size": dict(self.following), "machine": list(self.machine)}
        named |= {"device_kind": self.device_kind} if self.device_kind else {}
        next_lines = {"proceeds": self.proceeds or None, "script": self.script or None}
        return {**first, **found, **next_lines, "training": training, **named, **pareto}

    def to_markdown(self) -> str:
        """Return reasons, caveats and table, for MLflow's experiment page."""
        found = self.recommendation
        first, why, *rest = found.reasons
        lines = [f"## {first}", "", why, "", " ".join([*rest, *self._advice()]), ""]
        lines += [f"- {seen}" for seen in found.behaviour.observations]
        lines += [f"- ⚠ {caveat}" for caveat in found.caveats]
        lines += [f"- {self.proceeds.replace(': ', ': `', 1)}`"] if self.proceeds else []
        lines += [""]
        columns = columns_of(found.table)
        lines += ["| " + " | ".join(columns) + " |", "|" + " ---: |" * (len(columns) - 1) + " :--- |"]
        lines += ["| " + " | ".join(cells(row, columns)) + " |" for row in found.table]
        return "\n".join(lines) + "\n"

    def show(self, console: Console) -> None:
        """Print the table, the pick with its plain reason, then how sure it is, and the caveats, within 80 columns."""
        found = self.recommendation
        table = Table(
            box=SIMPLE_HEAD,
            pad_edge=False,
            padding=0,
            title=f"{found.objective} by batch size",
            title_justify="left",
        )
        columns = columns_of(found.table)
        for name in columns:
            table.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
        for row in found.table:
            table.add_row(*cells(row, columns), style="bold green" if row.verdict == "recommended" else None)
        console.print(table)
        if self.trade_offs is not None:
            console.print(pareto_table(self.trade_offs))
        first, why, *rest = found.reasons
        console.print(first, style="bold green", highlight=False)
        console.print(f"{why}\n", highlight=False)
        console.print(" ".join(rest), highlight=False)
        console.print(" ".join(self._advice()), highlight=False)
        for observation in found.behaviour.observations[:_MOST_OBSERVATIONS]:
            console.print(observation, highlight=False)
        for caveat in found.caveats:
            console.print(f"! {caveat}", style="yellow", highlight=False)
        if self.proceeds:
            console.print(self.proceeds, markup=False, highlight=False, soft_wrap=True)  # whole, to be copied
        if self.script:
            console.print(f"\nIn plain Keras:\n{essential(self.script)}", markup=False, highlight=False, soft_wrap=True)

    def _repr_html_(self) -> str:
        """Return the answer with its figures, for notebooks."""
        script = f"<p>In plain Keras:</p><pre>{html.escape(self.script)}</pre>" if self.script else ""
        return to_html(self.recommendation, self._advice()) + script

    def _advice(self) -> list[str]:
        told = [] if self.advice is None else [self.advice.tell()]
        if self.following:
            rules = "; ".join(f"{name.replace('_', ' ')} ({how})" for name, how in self.following.items())
            told.append(f"What follows the batch size: {rules}.")
        if self.device_kind:
            told.append(f"Measured on {self.device_kind}.")
        elif kinds := [found[1] for line in self.machine if (found := _DEVICE.match(line))]:
            told.append(f"Measured on {' and '.join(kinds)}.")
        return told if self.trade_offs is None else [*told, self.trade_offs.tell()]


def pareto_table(found: TradeOffs) -> Table:
    """Return a table of the batch sizes of a Pareto set, with their value of each objective."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0, title="not beaten in everything", title_justify="left")
    for name in ("batch", "rate", *found.objectives):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.rows:
        rate = "" if row.learning_rate is None else f"{row.learning_rate:.3g}"
        table.add_row(str(row.batch_size), rate, *(f"{value:.4g}" for value in found.values(row).values()))
    return table


def recommend_from(record: StudyRecord, rule: Mapping[str, Any]) -> Answer:
    """Recommend from what MLflow holds of a search, ours or another program's.

    Args:
        record: The trials that were read.
        rule: The arguments `rule`, `tolerance`, `target` and `cost` of `stats.recommendation.recommend`.

    Raises:
        NothingToRecommend: If no trial completed.
    """
    seeds = record.settings.get("seeds")
    notes = [note for note in record.settings.get("notes", "").splitlines() if note]
    recommendation = recommend(
        record.trials,
        objective=record.objective,
        notes=(*notes, *record.notes),
        planned_seeds=int(seeds) if seeds else None,
        **rule_in_force(record, rule),
    )
    return Answer(
        recommendation,
        record.study,
        record.tracking_uri,
        record.experiment_id,
        following=followed(record.settings),
        machine=machine_of(record.settings),
        proceeds=proceed(record.settings, recommendation.next_step),
        script=script_of(recommendation, record.settings, record.trials),
        device_kind=record.settings.get(DEVICE_KIND, ""),
    )


_FOLLOWERS = ("learning_rate", "schedule", "weight_decay", "decay_constants", "callback_rates")


def followed(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what followed the batch size in a study and how, of its settings; empty for runs of other programs."""
    return {name: settings[name] for name in _FOLLOWERS if name in settings}


_DEVICE = re.compile(r"machine (.+), \d+ cores")


def machine_of(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the devices of a study and the versions there, of its settings; empty for runs of other programs."""
    return tuple(settings.get("versions", "").splitlines())


def rule_in_force(record: StudyRecord, rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rule that was asked for; where that is silent, what a staged search judged by."""
    judged = judged_by(record.settings)
    if record.settings.get("objective") != record.objective.name:
        judged.pop("target", None)
    return {**judged, **{name: value for name, value in rule.items() if value is not None}}


def judged_by(settings: Mapping[str, str]) -> dict[str, Any]:
    """Return the target and the throughput by which a search judged; empty where it said nothing of them."""
    found: dict[str, Any] = {}
    if TARGET in settings:
        found["target"] = float(settings[TARGET])
    for name, setting in (("throughput", THROUGHPUT), ("throughput_errors", THROUGHPUT_ERRORS)):
        if setting in settings:
            found[name] = {int(size): value for size, value in json.loads(settings[setting]).items()}
    return found


def to_html(found: Recommendation, more: Sequence[str] = ()) -> str:
    """Return the recommendation as HTML.

    Args:
        found: The recommendation to show.
        more: Further sentences, after the reasons.
    """
    first, why, *rest = found.reasons
    verdicts = [row.verdict for row in found.table]
    columns = columns_of(found.table)
    parts = [
        heading(first),
        paragraphs([why, " ".join([*rest, *more]), *found.behaviour.observations]),
        warnings(found.caveats),
        table(columns, [cells(row, columns) for row in found.table], strong=verdicts.index("recommended")),
        _quality(found),
        _trade_off(found),
    ]
    return "".join(parts)


def _quality(found: Recommendation) -> str:
    means = {
        row.batch_size: (row.objective_mean, row.objective_se) for row in found.table if row.objective_mean is not None
    }
    picture = sketch(
        lambda axes: draw_quality(axes, {}, means, objective=found.objective, chosen=found.batch_size),
    )
    return image_tag(picture, f"{found.objective} by batch size")


def _trade_off(found: Recommendation) -> str:
    errors = {row.batch_size: row.objective_se for row in found.table}
    offers = found.explanation.pareto if found.explanation is not None else ()
    points = {o.batch_size: (o.cost, o.objective, errors[o.batch_size]) for o in offers if o.cost is not None}
    unit = found.cost
    if unit is None or len(points) < 2:
        return ""
    efficient = [offer.batch_size for offer in offers if offer.efficient and offer.batch_size in points]
    picture = sketch(
        lambda axes: draw_trade_off(
            axes, points, efficient, objective=found.objective, unit=unit, chosen=found.batch_size
        )
    )
    return image_tag(picture, f"{found.objective} by {unit}")
