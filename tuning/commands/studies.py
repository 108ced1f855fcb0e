"""`batch-size studies`: lists the studies, shows one, or compares two, from their own records."""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.commands.stages import Stages
from tuning.commands.telling import STUDIES, add_json, add_rule, console, read_rule
from tuning.commands.values import word

if TYPE_CHECKING:
    from tuning.finished import FinishedStudy
    from tuning.show.study_tables import StudyLine
    from tuning.stats.recommendation import Recommendation


def add(commands: Any) -> None:
    """Declare the command."""
    about = "list the studies, show one, or compare two"
    example = "batch-size studies digits-grid ../other-machine/batch_size_studies/digits-grid"
    parser = commands.add_parser("studies", help=about, description=about, example=example)
    about = "a study's name, or the path of its directory; none lists all, two are compared"
    parser.add_argument("studies", nargs="*", type=word, metavar="STUDY", help=about)
    add_rule(parser)
    about = "an Optuna storage that holds them (default: files in batch_size_studies/)"
    parser.add_argument("--storage", type=word, metavar="URL", help=about)
    add_json(parser)
    parser.set_defaults(run=studies)


def studies(asked: argparse.Namespace) -> int:
    """`batch-size studies`: from their own records, without a claim on them."""
    names = asked.studies
    if len(names) > 2:
        raise ValueError(f"studies must be given at most two to compare; got {len(names)}. Leave some out.")
    run = (_list, _show, _compare)[len(names)]
    return run(asked)


def _list(asked: argparse.Namespace) -> int:
    with Stages(quiet=asked.json) as stage:
        stage("Reading the studies")
        from tuning.show.schema import SCHEMA_VERSION
        from tuning.show.study_tables import list_table

        lines = sorted(_lines(asked), key=lambda line: line.written, reverse=True)
    if asked.json:
        print(json.dumps({"schema_version": SCHEMA_VERSION, "studies": [asdict(line) for line in lines]}))
    elif lines:
        console().print(list_table(lines))
    else:
        print(f"There is no study in {STUDIES}/ here. Begin one: batch-size tune digits")
    return 0


def _lines(asked: argparse.Namespace) -> Iterator[StudyLine]:
    from tuning.show.study_tables import StudyLine
    from tuning.study.storage import StudyError
    from tuning.study.view import storage_of

    if asked.storage is not None:
        import optuna

        places = [(name, Path(STUDIES)) for name in optuna.get_all_study_names(storage_of(Path(), asked.storage))]
    else:
        places = [(path.parent.name, path.parent.parent) for path in Path(STUDIES).glob("*/study.journal")]
    for name, folder in places:
        try:
            yield _line(name, folder, asked)
        except StudyError as error:
            yield StudyLine(name, state=str(error))


def _line(name: str, folder: Path, asked: argparse.Namespace) -> StudyLine:
    from tuning.finished import view_study
    from tuning.show.study_tables import StudyLine
    from tuning.study.claim import is_claimed

    study = view_study(name, folder, storage=asked.storage)
    found = _recommendation(study, asked)
    journal = folder / name / "study.journal"
    written = datetime.datetime.fromtimestamp(journal.stat().st_mtime) if journal.exists() else None
    ended = sum(trial.outcome is not None for trial in study.trials)
    return StudyLine(
        name,
        study.settings["search"],
        study.objective.name,
        trials=ended,
        running=len(study.trials) - ended,
        recommended=None if found is None else found.batch_size,
        learning_rate=None if found is None else found.learning_rate,
        state="running" if is_claimed(folder / name) else "ended",
        written="" if written is None else written.strftime("%Y-%m-%d %H:%M"),
    )


def _show(asked: argparse.Namespace) -> int:
    with Stages(quiet=asked.json) as stage:
        stage("Reading the study")
        from tuning.show.answer import Answer, followed

        study = _read(asked.studies[0], asked)
        found = study.recommend(**_rule(asked))
        answer = Answer(found, study.name, "", "", following=followed(study.settings))
    if asked.json:
        print(json.dumps({**answer.to_json(), "settings": study.settings}))
        return 0
    for name, value in study.settings.items():
        print(f"{name.replace('_', ' '):>22}  {value}")
    print()
    answer.show(console())
    return 0


def _compare(asked: argparse.Namespace) -> int:
    with Stages(quiet=asked.json) as stage:
        stage("Reading the studies")
        from tuning.show.schema import SCHEMA_VERSION
        from tuning.show.study_tables import compared, comparison_table, differing

        both = [_read(name, asked) for name in asked.studies]
        _check_comparable(*both)
        found = [study.recommend(**_rule(asked)) for study in both]
        rows = compared(found[0].table, found[1].table)
        changes = differing(both[0].settings, both[1].settings)
    if asked.json:
        told = {"schema_version": SCHEMA_VERSION, "studies": asked.studies, "objective": found[0].objective}
        picks = [_pick(each) for each in found]
        told |= {"recommended": picks, "differing_settings": changes, "table": [asdict(row) for row in rows]}
        print(json.dumps(told))
        return 0
    for letter, name, each in zip("AB", asked.studies, found, strict=True):
        print(f"{letter}: {name}. {each.reasons[0]}")
    console().print(comparison_table(rows, found[0].objective))
    for name, (before, after) in changes.items():
        print(f"{name.replace('_', ' ')}: {before or 'none'} in A, {after or 'none'} in B")
    return 0


def _pick(found: Recommendation) -> dict[str, Any]:
    return {"batch_size": found.batch_size, "learning_rate": found.learning_rate}


def _check_comparable(first: FinishedStudy, second: FinishedStudy) -> None:
    if first.objective != second.objective:
        raise ValueError(
            f"Two studies must be judged by the same objective to be compared; got {first.objective.name} and "
            f"{second.objective.name}. Search one of them again with --objective."
        )


def _read(text: str, asked: argparse.Namespace) -> FinishedStudy:
    from tuning.finished import view_study

    path = Path(text) if "/" in text else Path(STUDIES, text)
    return view_study(path.name, path.parent, storage=None if "/" in text else asked.storage)


def _recommendation(study: FinishedStudy, asked: argparse.Namespace) -> Recommendation | None:
    from tuning.stats.recommendation import NothingToRecommend

    try:
        return study.recommend(**_rule(asked))
    except NothingToRecommend:
        return None


def _rule(asked: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in read_rule(asked).items() if value is not None}
