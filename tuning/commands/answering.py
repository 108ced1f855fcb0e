"""What asks MLflow again: `batch-size pick`, `report` and `ui`; and the list of `workloads`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.workload import BUILT_IN, Workload, load_workload
from tuning.commands.options import STUDIES, check_output, console, read_rule, tell, telling_options
from tuning.commands.values import port, word


def add_pick(commands: Any) -> None:
    """Declare the command."""
    about = "recommend again from MLflow, also for foreign runs"
    parser = commands.add_parser("pick", parents=[telling_options()], help=about)
    add_runs(parser)
    parser.set_defaults(run=pick)


def pick(asked: argparse.Namespace) -> int:
    """`batch-size pick`: recommend again, from MLflow alone."""
    from tuning.show.answer import recommend_from

    return tell(recommend_from(read_runs(asked), read_rule(asked)), asked)


def add_report(commands: Any) -> None:
    """Declare the command."""
    about = "the recommendation with its figures as one HTML page, from MLflow"
    parser = commands.add_parser("report", parents=[telling_options()], help=about)
    add_runs(parser)
    parser.add_argument(
        "-o", "--output", type=word, default="report.html", metavar="FILE", help="where to (report.html)"
    )
    parser.set_defaults(run=report)


def report(asked: argparse.Namespace) -> int:
    """`batch-size report`: write the page; with `--json`, also print the recommendation."""
    from tuning.show.evidence import evidence_from
    from tuning.show.page import render_report

    check_output("--output", asked.output)
    path = Path(asked.output)
    evidence = evidence_from(read_runs(asked), read_rule(asked))
    path.write_text(render_report(evidence), encoding="utf-8")
    print(f"Wrote {path}.", file=sys.stderr)
    if asked.json:
        print(json.dumps(evidence.answer.to_json()))
    return 0


if TYPE_CHECKING:
    from tuning.record.reading import StudyRecord


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Declare which runs to recommend from."""
    parser.add_argument("study", nargs="?", type=word, metavar="STUDY", help="the latest if not told")
    parser.add_argument("--experiment", type=word, metavar="NAME", help="an MLflow experiment that any program logged")
    parser.add_argument(
        "--param", type=word, default="batch_size", metavar="NAME", help="its batch-size parameter (batch_size)"
    )
    parser.add_argument("--metric", type=word, metavar="NAME", help="its metric that decides, such as val_accuracy")
    parser.add_argument("--mode", choices=("max", "min"), help="whether larger is better, if the name does not tell")


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
    parser = commands.add_parser("ui", help="open MLflow's UI on a study")
    parser.add_argument("study", nargs="?", type=word, metavar="STUDY", help="the latest if not told")
    parser.add_argument("--tracking-uri", type=word, metavar="URI", help="MLflow's store (sqlite:///mlflow.db)")
    parser.add_argument("--host", type=word, default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=port, help="a free one if not told")
    parser.set_defaults(run=ui)


def ui(asked: argparse.Namespace) -> int:
    """`batch-size ui`: MLflow's UI at the study's saved view."""
    from tuning.record.ui import serve

    return serve(asked.tracking_uri, delivered_study(asked), host=asked.host, port=asked.port)


def add_workloads(commands: Any) -> None:
    """Declare the command."""
    commands.add_parser("workloads", help="list what is built in").set_defaults(run=workloads)


def workloads(_: argparse.Namespace) -> int:
    """`batch-size workloads`: what is built in."""
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
