"""What asks MLflow again: `batch-size pick`, `report` and `ui`; and the list of `workloads`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.commands.parser import Parser
from tuning.commands.stages import Stages
from tuning.commands.telling import STUDIES, add_tracking_uri, console, read_rule, tell, telling_options
from tuning.commands.values import check_output, count, port, word

if TYPE_CHECKING:
    from search_spaces.workload import Workload
    from tuning.record.reading import StudyRecord
    from tuning.show.answer import Answer

TIED = "tied"
EXPECTED_OTHERWISE = 3
"""The status of `pick --expect N` where N is worse than what is recommended."""


def add_pick(commands: Any) -> None:
    """Declare the command."""
    about = "recommend again from MLflow, also for runs of other programs"
    parser = _add(commands, "pick", about, "batch-size pick digits-grid --expect 64")
    about = "end with status 3 if this batch size is worse than the recommended one (default: none)"
    parser.add_argument("--expect", type=count, metavar="N", help=about)
    parser.set_defaults(run=pick)


def pick(asked: argparse.Namespace) -> int:
    """`batch-size pick`: recommend again, from MLflow alone."""
    with Stages(quiet=asked.json) as stage:
        stage("Reading MLflow")
        from tuning.show.answer import recommend_from

        answer = recommend_from(read_runs(asked), read_rule(asked))
        told = None if asked.expect is None else expected(asked.expect, answer)
    tell(answer, asked)
    if told is None:
        return 0
    print(f"\n{told[1]}", file=sys.stderr if asked.json else sys.stdout)
    return 0 if told[0] else EXPECTED_OTHERWISE


def expected(size: int, answer: Answer) -> tuple[bool, str]:
    """Return whether a batch size is as good as the recommended one, and a line that says so.

    Raises:
        ValueError: If it was not tried.
    """
    found = answer.recommendation
    verdicts = {row.batch_size: row.verdict for row in found.table}
    if size not in verdicts:
        tried = ", ".join(map(str, verdicts))
        raise ValueError(f"--expect must name a batch size that was tried: {tried}; got {size}. Add it to the study.")
    if size == found.batch_size:
        return True, f"Batch size {size} is the recommended one, as expected."
    verdict = verdicts[size].replace("_", " ")
    told = f"Batch size {size} was expected; {found.batch_size} is recommended, and"
    if verdict == TIED:
        return True, f"{told} {size} is tied with the best."
    return False, f"{told} the verdict on {size} is: {verdict}."


def add_report(commands: Any) -> None:
    """Declare the command."""
    about = "write the recommendation with its figures as one HTML page, from MLflow"
    parser = _add(commands, "report", about, "batch-size report digits-grid -o report.html")
    about = "where to write the page (default: report.html)"
    parser.add_argument("-o", "--output", type=word, default="report.html", metavar="FILE", help=about)
    parser.set_defaults(run=report)


def report(asked: argparse.Namespace) -> int:
    """`batch-size report`: write the page; with `--json`, also print the recommendation."""
    check_output("--output", asked.output)
    path = Path(asked.output)
    with Stages(quiet=asked.json) as stage:
        stage("Reading MLflow, and drawing the report")
        from tuning.show.evidence import evidence_from
        from tuning.show.page import render_report

        evidence = evidence_from(read_runs(asked), read_rule(asked))
        path.write_text(render_report(evidence), encoding="utf-8")
    print(f"Wrote {path}.", file=sys.stderr)
    if asked.json:
        print(json.dumps(evidence.answer.to_json()))
    return 0


def _add(commands: Any, name: str, about: str, example: str) -> Parser:
    """Declare a command that recommends from runs, and which."""
    parents = [telling_options()]
    parser: Parser = commands.add_parser(name, parents=parents, help=about, description=about, example=example)
    add_study(parser)
    about = "an MLflow experiment that any program logged, instead of a study"
    parser.add_argument("--experiment", type=word, metavar="NAME", help=about)
    about = "its batch-size parameter (default: batch_size)"
    parser.add_argument("--param", type=word, default="batch_size", metavar="NAME", help=about)
    parser.add_argument("--metric", type=word, metavar="NAME", help="its metric that decides, such as val_accuracy")
    about = "whether larger is better (default: by the metric's name)"
    parser.add_argument("--mode", choices=("max", "min"), help=about)
    return parser


def add_study(parser: argparse.ArgumentParser) -> None:
    """Declare which study is asked for."""
    about = "the study (default: the one that was written last)"
    parser.add_argument("study", nargs="?", type=word, metavar="STUDY", help=about)


def read_runs(asked: argparse.Namespace) -> StudyRecord:
    """What MLflow holds of the runs asked for.

    Raises:
        ValueError: If foreign runs were asked for without the metric that decides.
        TrackingError: If there are no such runs.
    """
    from tuning.record.reading import read_foreign, read_study

    if asked.experiment is None:
        return read_study(asked.tracking_uri, delivered_study(asked))
    if asked.metric is None:
        raise ValueError("--experiment needs --metric NAME, the metric that decides; got none.")
    return read_foreign(asked.tracking_uri, asked.experiment, param=asked.param, metric=asked.metric, mode=asked.mode)


def delivered_study(asked: argparse.Namespace) -> str:
    """The name of the study that is asked for; what MLflow lacks of it is delivered first, if its directory is here.

    Raises:
        TrackingError: If MLflow does not answer, or holds no study.
    """
    from tuning.record.owed import FOLDER, OwedFolder
    from tuning.record.reading import latest_study

    name = str(asked.study or latest_study(asked.tracking_uri))
    directory = Path(STUDIES, name)
    if OwedFolder(directory / FOLDER).study() is not None:
        from tuning.search.delivery import deliver_owed  # opens the study, which takes a while to load

        if line := deliver_owed(name, directory, asked.tracking_uri):
            print(line, file=sys.stderr)
    return name


def add_ui(commands: Any) -> None:
    """Declare the command."""
    about = "open MLflow's UI on a study"
    parser = commands.add_parser("ui", help=about, description=about, example="batch-size ui digits-grid --port 5000")
    add_study(parser)
    add_tracking_uri(parser)
    about = "the address to listen on (default: 127.0.0.1)"
    parser.add_argument("--host", type=word, default="127.0.0.1", help=about)
    parser.add_argument("--port", type=port, metavar="N", help="the port to listen on (default: a free one)")
    parser.set_defaults(run=ui)


def ui(asked: argparse.Namespace) -> int:
    """`batch-size ui`: MLflow's UI at the study's saved view."""
    from tuning.record.ui import serve

    return serve(asked.tracking_uri, delivered_study(asked), host=asked.host, port=asked.port)


def add_workloads(commands: Any) -> None:
    """Declare the command."""
    about = "list the models and data that are built in"
    parser = commands.add_parser("workloads", help=about, description=about, example="batch-size workloads")
    parser.set_defaults(run=workloads)


def workloads(_: argparse.Namespace) -> int:
    """`batch-size workloads`: what is built in."""
    from search_spaces.workload import BUILT_IN, load_workload

    console().print(workloads_table([load_workload(name) for name in sorted(BUILT_IN)]))
    return 0


def workloads_table(built_in: list[Workload]) -> Any:
    """A `rich` table of ready-made workloads, within 80 columns."""
    from rich.box import HORIZONTALS
    from rich.table import Table

    made = Table(box=HORIZONTALS, pad_edge=False, padding=(0, 1, 0, 0), show_lines=True)
    made.add_column("workload", no_wrap=True)
    for title, width in (("data", 23), ("model", 12), ("a grid's default", 18)):
        made.add_column(title, width=width)
    made.add_column("minutes", no_wrap=True)
    made.caption = "Minutes: a default grid or bayes on two CPU cores, roughly."
    for workload in built_in:
        if (told := workload.description) is not None:
            space = f"{told.space}\n{workload.epochs} epochs, {workload.objective}"
            made.add_row(workload.name, told.data, told.model, space, told.minutes)
    return made
