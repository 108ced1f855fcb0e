"""`batch-size workloads`."""

from __future__ import annotations

import argparse
from typing import Any

from search_spaces.workload import BUILT_IN, Workload, load_workload
from tuning.commands.terminal import console


def add(commands: Any) -> None:
    """Declare the command."""
    commands.add_parser("workloads", help="list what is built in").set_defaults(run=workloads)


def workloads(_: argparse.Namespace) -> int:
    """`batch-size workloads`: what is built in."""
    console().print(table([load_workload(name) for name in sorted(BUILT_IN)]))
    return 0


def table(built_in: list[Workload]) -> Any:
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
