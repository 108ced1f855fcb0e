"""`batch-size pick`."""

from __future__ import annotations

import argparse
from typing import Any

from tuning.commands.options import read_rule, telling_options
from tuning.commands.runs import add_runs, read_runs
from tuning.commands.terminal import tell


def add(commands: Any) -> None:
    """Declare the command."""
    about = "recommend again from MLflow, also for foreign runs"
    parser = commands.add_parser("pick", parents=[telling_options()], help=about)
    add_runs(parser)
    parser.set_defaults(run=pick)


def pick(asked: argparse.Namespace) -> int:
    """`batch-size pick`: recommend again, from MLflow alone."""
    from tuning.picking import recommend_from

    return tell(recommend_from(read_runs(asked), read_rule(asked)), asked)
