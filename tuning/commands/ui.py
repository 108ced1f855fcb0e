"""`batch-size ui`."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the command."""
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
