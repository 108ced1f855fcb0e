"""`batch-size ui` and `batch-size workloads`: what there is to look at."""

from __future__ import annotations

import argparse
from typing import Any

from search_spaces.workload import BUILT_IN, load_workload


def add(commands: Any) -> None:
    """Declare the commands."""
    commands.add_parser("workloads", help="list what is built in").set_defaults(run=workloads)
    parser = commands.add_parser("ui", help="open MLflow's UI on a study")
    parser.add_argument("study", nargs="?", metavar="STUDY", help="the latest if not told")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's store (sqlite:///mlflow.db)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="a free one if not told")
    parser.set_defaults(run=ui)


def ui(asked: argparse.Namespace) -> int:
    """`batch-size ui`: MLflow's UI at the study's saved view."""
    from tuning.tracking.ui import serve

    return serve(asked.tracking_uri, asked.study, host=asked.host, port=asked.port)


def workloads(_: argparse.Namespace) -> int:
    """`batch-size workloads`: what is built in."""
    for name in sorted(BUILT_IN):
        found = load_workload(name)
        print(f"{name:12s} {found.description}; {found.epochs} epochs, {found.objective or 'val_accuracy or val_loss'}")
    return 0
