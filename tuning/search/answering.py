"""The answer of a search: the recommendation from its record, the advice around it, and its report."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tuning.machine.advice import advise
from tuning.machine.machine import Machine
from tuning.machine.throughput import KERAS
from tuning.machine.user_seconds import (
    errors_of_user,
    input_of_user,
    note_on_disturbance,
)
from tuning.plans.plan import Judgement, Plan
from tuning.record.layout import TARGET, THROUGHPUT, THROUGHPUT_ERRORS
from tuning.record.tracker import Tracker
from tuning.run.executor import Executor
from tuning.run.of_kind import has_left, of_kind
from tuning.search.answering_kind import settle_kind
from tuning.search.following import notes_of_following, scaling_of
from tuning.search.options import SearchOptions
from tuning.search.preparation import Setup, how_made
from tuning.search.sharing import notes_on_cards
from tuning.search.timing import time_sizes
from tuning.show.answer import Answer, followed, machine_of
from tuning.show.evidence import evidence_of_search
from tuning.show.next_command import proceed
from tuning.show.page import FILE_NAME, ReportWarning, render_report
from tuning.show.snippet import script_of
from tuning.stats import kinds
from tuning.stats.deciding import deciding_trials
from tuning.stats.input_bound import note_on_input
from tuning.stats.kinds import DEVICE_KIND
from tuning.stats.recommendation import Recommendation, recommend
from tuning.stats.trade_offs import trade_offs
from tuning.study.records import Records
from tuning.study.study import Study
from tuning.study.view import StudyView
from tuning.trial import Trial

_JUDGED_BY = "judged_by"


def recommend_from_study(study: Study | StudyView, options: SearchOptions, seeds: int, **rule: Any) -> Recommendation:
    """Recommend a batch size from the trials of a study so far.

    Args:
        study: The record; what a search has judged by is kept with it.
        options: How the recommendation picks.
        seeds: Trainings per setting that are planned.
        rule: `rule`, `tolerance`, `target`, `throughput`, `cost`: override these.

    Raises:
        NothingToRecommend: If no trial completed.
        ValueError: If the study has not been opened.
    """
    kept = study.recall(_JUDGED_BY) or {}
    target = kept.get("target") if options.target is None else options.target
    rates, errors = (
        None if found is None else {int(size): value for size, value in found.items()}
        for found in (kept.get("throughput"), kept.get("throughput_errors"))
    )
    chosen = {
        "rule": options.rule,
        "tolerance": options.tolerance,
        "target": target,
        "cost": options.cost,
        "throughput": rates,
        "throughput_errors": errors,
        **rule,
    }
    trials = _ended(study.records, kept.get(DEVICE_KIND, ""))
    return recommend(trials, objective=study.objective, notes=kept.get("notes", ()), planned_seeds=seeds, **chosen)


def answer_search(
    study: Study,
    plan: Plan,
    setup: Setup,
    options: SearchOptions,
    *,
    seeds: int,
    further_objectives: Sequence[str],
    tracker: Tracker,
    executor: Executor,
    shown: Mapping[str, str],
    show: Callable[[Answer], object],
) -> Answer:
    """Recommend a batch size, measure how to train the final model with it, and show both where the trials are shown.

    Args:
        study: The record.
        plan: What was tried; it may know what to judge by.
        setup: What the search knew before its first trial.
        options: How the recommendation picks.
        seeds: Trainings per setting that were planned.
        further_objectives: Further measures for the Pareto set.
        tracker: Where the trials are shown.
        executor: Idle.
        shown: The settings that people are shown.
        show: Shows people the answer; its report is drawn after that.

    Raises:
        NothingToRecommend: If no trial completed.
    """
    judgement = plan.judgement(study.records)
    holds = settle_kind(study, setup, options, judgement, executor)
    throughput = judgement.throughput or time_sizes(study, setup, options, judgement.target, executor, tracker)
    n_devices = len(executor.devices()) if throughput is None else 1  # its timings were taken alone
    notes = base_notes(setup, options, study.records, n_devices=n_devices, kind=holds.kind)
    notes += notes_of_following(setup, scaling_of(setup, options))
    notes += [*judgement.notes, *holds.notes]
    notes += _notes_on_seconds(study, throughput, is_plans=judgement.throughput is not None)
    errors = _errors(judgement, study.records.machine, throughput)
    by_size = {"throughput": throughput, "throughput_errors": errors}
    study.remember(_JUDGED_BY, {"target": judgement.target, **by_size, "notes": notes, DEVICE_KIND: holds.kind})
    settings = {**shown, "notes": "\n".join(notes)}
    if holds.kind:
        settings[DEVICE_KIND] = holds.kind
    if judgement.target is not None:
        settings[TARGET] = str(judgement.target)
    if throughput is not None:
        settings[THROUGHPUT] = json.dumps(throughput)
    if errors is not None:
        settings[THROUGHPUT_ERRORS] = json.dumps(errors)
    if settings != shown:
        tracker.start_study(study.name, settings)
    found = recommend_from_study(study, options, seeds)
    trials = _ended(study.records, holds.kind)
    advice = None
    if not has_left(executor, study.device_kind):
        measured = of_kind(executor, study.device_kind)
        advice = advise(measured, found, trials, study.records.machine, epochs=setup.arguments.epochs)
    further = further_objectives
    pareto = trade_offs(found.table, further, objective=study.objective) if further else None
    answer = Answer(
        found,
        study.name,
        tracker.tracking_uri,
        tracker.experiment_id,
        advice,
        pareto,
        following=followed(settings),
        machine=machine_of(settings),
        proceeds=proceed(settings, found.next_step),
        script=script_of(found, settings, tuple(study.records)),
        device_kind=holds.kind,
    )
    try:
        show(answer)
    finally:  # whoever can be shown nothing, as behind `| head`, finds it in the record
        _record(answer, study, trials, settings, options, tracker)
    return answer


def _record(
    answer: Answer,
    study: Study,
    trials: Sequence[Trial],
    settings: Mapping[str, str],
    options: SearchOptions,
    tracker: Tracker,
) -> None:
    """Draw the report of an answer, and record both."""
    report = _report(answer, study, trials, settings, options) if answer.tracking_uri else {}
    found = answer.recommendation
    deciding = deciding_trials(trials, found.table, objective=study.objective, target=found.target)
    tracker.recommended(answer.to_json(), answer.to_markdown(), report, deciding)


def _errors(
    judgement: Judgement, machine: Machine, throughput: Mapping[int, float] | None
) -> Mapping[int, float] | None:
    """Return the errors of the clock: those that the plan knows, else what the timings show; None without timings."""
    if throughput is None or judgement.throughput is not None:
        return judgement.throughput_errors
    return errors_of_user(machine, throughput)


def _notes_on_seconds(study: Study, throughput: Mapping[int, float] | None, *, is_plans: bool) -> list[str]:
    """Return whose seconds those are by which an answer is judged, unless the plan says so, and what disturbed them."""
    machine = study.records.machine
    if throughput is None:
        has_clocks = any(trial.examples_per_second for trial in study.records)
        return ["No batch size could be timed alone: throughput is that of the trials."] if has_clocks else []
    timed = "plain model.fit" if machine.user_series == KERAS else "the loop of the trials"
    told = "" if is_plans else f"Seconds and throughput are those of {timed}, timed with nothing else running."
    return list(filter(None, [told, note_on_disturbance(machine, throughput)]))


def base_notes(setup: Setup, options: SearchOptions, records: Records, *, n_devices: int, kind: str = "") -> list[str]:
    """Return the caveats that only a search itself knows, one sentence each.

    Args:
        setup: What was trained, on what.
        options: How the search ran.
        records: Its trials, and what was measured.
        n_devices: How many devices trained beside one another.
        kind: The kind of device that the answer holds for, where there are several.
    """
    notes, model = [], setup.model
    if model.has_batch_normalization:
        notes.append("The model uses BatchNormalization: the batch size also changes what is normalised.")
    notes += notes_on_cards(setup.cards, model, setup.space)
    if model.has_own_loop:
        notes.append(
            "HyperModel.fit trains by a loop of its own: the order of the examples, a ragged last batch and the "
            "validation are its own, too, and no throughput is known."
        )
    if not model.starts_by_seed:
        notes.append(
            "Every seed starts from the same weights, so that seeds vary the order of the examples alone and the noise "
            "is underestimated; leave seeding to the tuner."
        )
    largest = records.machine.largest_batch_size
    if options.accumulate and largest is not None and any(trial.batch_size > largest for trial in records):
        notes.append(
            f"Batch sizes above {largest} were trained as micro-batches; BatchNormalization, if any, then "
            "normalises over the micro-batch, and their throughput is the micro-batch's."
        )
    if model.python_load:
        notes.append(f"Python makes the examples, in threads that take turns: {model.python_load}.")
    is_made = bool(how_made(setup.arguments.data))
    ended = _ended(records, kind)
    notes += filter(None, [note_on_input(ended, input_of_user(records.machine) if is_made else None)])
    if n_devices > 1:
        notes.append("Throughput was measured with other trainings beside it; alone it would be higher.")
    return notes


def _report(
    answer: Answer, study: Study, trials: Sequence[Trial], settings: Mapping[str, str], options: SearchOptions
) -> dict[str, str]:
    """Return the page that goes with the recommendation, if it can be drawn."""
    try:
        evidence = evidence_of_search(
            answer,
            trials,
            objective=study.objective,
            target=answer.recommendation.target,
            settings=dict(settings),
            tolerance=options.tolerance,
            cost=options.cost,
        )
        return {FILE_NAME: render_report(evidence)}
    except Exception as error:  # whatever a drawing raises, the answer has been found
        warnings.warn(
            f"The report could not be drawn: {type(error).__name__}: {error}. The answer is complete without it.",
            ReportWarning,
            stacklevel=2,
        )
        return {}


def _ended(trials: Iterable[Trial], kind: str) -> list[Trial]:
    """Return every trial that has ended, as a user of a kind of device sees it; see `stats.kinds.of_kind`."""
    return kinds.of_kind([trial for trial in trials if trial.outcome is not None], kind)
