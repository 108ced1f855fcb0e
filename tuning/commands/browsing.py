"""`batch-size ui` and `batch-size workloads`."""

from __future__ import annotations

import argparse
from typing import Any

from search_spaces.workload import BUILT_IN, Workload, load_workload
from tuning.commands.options import console


def add_ui(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("ui", help="open MLflow's UI on a study")
    parser.add_argument("study", nargs="?", metavar="STUDY", help="the latest if not told")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's store (sqlite:///mlflow.db)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="a free one if not told")
    parser.set_defaults(run=ui)


def ui(asked: argparse.Namespace) -> int:
    """`batch-size ui`: MLflow's UI at the study's saved view."""
    from tuning.record.ui import serve

    return serve(asked.tracking_uri, asked.study, host=asked.host, port=asked.port)


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
