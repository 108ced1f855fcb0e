"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tuning.record.layout import THROUGHPUT, THROUGHPUT_ERRORS
from tuning.show.answer import judged_by
from tuning.show.behaviour_section import behaviour_section
from tuning.show.canvas import Section, inline_svg, sketch
from tuning.show.cost_sections import cost_section, energy_section, updates_section
from tuning.show.evidence import Evidence, analyse
from tuning.show.importance_section import importance_section
from tuning.show.sections import (
    curves_section,
    memory_section,
    noise_section,
    quality_section,
    rates_section,
    throughput_section,
    trade_off_section,
)
from tuning.show.snippet import script_of
from tuning.stats.picks import picks_by_tolerance
from tuning.stats.rules import TIME
from tuning.stats.table import TableRow
from tuning.trial import Status

FILE_NAME = "report.html"
_TEMPLATE = "report.html.jinja"
_MOST_REASONS = 8
_NOT_AGAIN = ("batch size", "verdict", "in Pareto set", "seeds")  # by the slider; verdicts are those of one rule
_ROOM, _PLACES = 1.1, 200  # of the slider: beyond the largest gap, and how finely it moves
_TOLD_ELSEWHERE = ("notes", "versions", "command", THROUGHPUT, THROUGHPUT_ERRORS)


class ReportWarning(UserWarning):
    """A report that could not be drawn; what it reports is complete."""


def render_report(evidence: Evidence) -> str:
    """Return the page.

    Args:
        evidence: The facts that it tells.
    """
    found = sections_of(evidence)
    environment = Environment(
        loader=PackageLoader("tuning.show", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    recommendation = evidence.answer.recommendation
    rows = [_cells(row, evidence) for row in recommendation.table]
    return environment.get_template(_TEMPLATE).render(
        answer=evidence.answer,
        found=recommendation,
        headline=recommendation.reasons[0],
        reasons=recommendation.reasons[1:],
        rows=rows,
        picks=_picks(evidence, rows),
        tolerance=evidence.tolerance,
        cost=recommendation.cost,
        trials={status.replace("_", " "): count for status, count in recommendation.trials.items() if count},
        failures=_failures(evidence),
        figures=[(section, _pictures(section)) for section in found if section.pictures],
        missing=[section for section in found if not section.pictures],
        settings=_settings(evidence),
        notes=[note for note in evidence.settings.get("versions", "").splitlines() if note],
        command=evidence.settings.get("command", ""),
        script=script_of(recommendation, evidence.settings, evidence.trials),
    )


def sections_of(evidence: Evidence) -> Sequence[Section]:
    """Return the figures of a report, in its order."""
    analysis = analyse(evidence)
    return (
        behaviour_section(evidence, analysis),
        quality_section(evidence, analysis),
        cost_section(evidence, analysis),
        updates_section(evidence, analysis),
        curves_section(evidence, analysis),
        trade_off_section(evidence),
        rates_section(evidence, analysis),
        *importance_section(evidence),
        throughput_section(evidence, analysis),
        *energy_section(evidence),
        memory_section(evidence),
        noise_section(evidence, analysis),
    )


def _pictures(section: Section) -> list[tuple[str, Markup]]:
    return [
        (name, Markup(inline_svg(sketch(draw), f"{section.title} {name}".strip()))) for name, draw in section.pictures
    ]


def _cells(row: TableRow, evidence: Evidence) -> dict[str, str]:
    found = evidence.answer.recommendation
    offers = () if found.explanation is None else found.explanation.pareto
    offer = next((offer for offer in offers if offer.batch_size == row.batch_size), None)
    memory = row.peak_memory_bytes
    is_known = any(each.joules_per_example is not None for each in found.table)
    energy = {
        "joules": _number(row.energy_joules, ",.3g"),
        "watts": _number(row.mean_watts, ".3g"),
        "joules per example": _number(row.joules_per_example, ".3g"),
    }
    return {
        "batch size": str(row.batch_size),
        "verdict": row.verdict.replace("_", " "),
        "learning rate": _number(row.learning_rate, ".3g"),
        "seeds": row.seeds_told,
        f"mean {found.objective}": _number(row.objective_mean, ".4f"),
        "± standard error": _number(row.objective_se, ".4f"),
        found.cost or "cost": _number(None if offer is None else offer.cost, ".3g"),
        "examples per second": _number(row.examples_per_second, ",.0f"),
        "peak MiB": _number(None if memory is None else memory / 2**20, ",.0f"),
        **(energy if is_known else {}),
        "in Pareto set": "yes" if offer is not None and offer.efficient else "",
    }


def _picks(evidence: Evidence, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return what the page's script chooses from: the picks of each rule, and what the table says of each."""
    found = picks_by_tolerance(
        evidence.trials,
        objective=evidence.objective,
        target=evidence.target,
        throughput=evidence.throughput,
        throughput_errors=evidence.throughput_errors,
        cost=evidence.cost,
    )
    gaps = [pick.tolerance or 0.0 for picks in found.values() for pick in picks]
    most = _ROOM * max([*gaps, evidence.tolerance or 0.0]) or 1.0
    return {
        "command": _pick_command(evidence),
        "picks": {rule: [dataclasses.asdict(pick) for pick in picks] for rule, picks in found.items()},
        "rows": {
            row["batch size"]: ", ".join(
                f"{name} {text}" for name, text in row.items() if text and name not in _NOT_AGAIN
            )
            for row in rows
        },
        "most": float(f"{most:.2g}"),
        "step": float(f"{most / _PLACES:.1g}"),
    }


def _pick_command(evidence: Evidence) -> str:
    """Return the command that picks by the same numbers, less rule and tolerance; empty for other programs' runs."""
    if not evidence.settings:
        return ""
    words = ["batch-size", "pick", evidence.answer.study]
    if evidence.cost != TIME:
        words += ["--cost", evidence.cost]
    if evidence.target is not None and evidence.target != judged_by(evidence.settings).get("target"):
        words += ["--target", f"{evidence.target:g}"]
    return shlex.join(words)


def _failures(evidence: Evidence) -> list[str]:
    """Return what ended trials early, the most frequent first."""
    counts = Counter(
        (status.replace("_", " "), trial.reason or "no reason given")
        for trial in evidence.trials
        if (status := trial.judged_status) is not None and status is not Status.COMPLETED
    )
    told = [f"{count} × {status}: {reason}" for (status, reason), count in counts.most_common(_MOST_REASONS)]
    rest = len(counts) - len(told)
    return [*told, f"and {rest} other reasons"] if rest > 0 else told


def _settings(evidence: Evidence) -> list[tuple[str, str]]:
    return list(_told_settings(evidence))


def _told_settings(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for name, value in evidence.settings.items():
        if name not in _TOLD_ELSEWHERE and value not in ("", "None"):
            yield name.replace("_", " "), value
    for name, hyperparameter in evidence.answer.recommendation.hyperparameters:
        yield f"best {name}", str(hyperparameter)


def _number(value: Any, form: str) -> str:
    return "" if value is None or not math.isfinite(value) else format(value, form)
