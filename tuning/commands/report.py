"""`batch-size report`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tuning.commands.options import read_rule, telling_options
from tuning.commands.runs import add_runs, read_runs


def add(commands: Any) -> None:
    """Declare the command."""
    about = "the recommendation with its figures as one HTML page, from MLflow"
    parser = commands.add_parser("report", parents=[telling_options()], help=about)
    add_runs(parser)
    parser.add_argument("-o", "--output", default="report.html", metavar="FILE", help="where to (report.html)")
    parser.set_defaults(run=report)


def report(asked: argparse.Namespace) -> int:
    """`batch-size report`: write the page; with `--json`, also print the recommendation."""
    from tuning.reporting.evidence import evidence_from
    from tuning.reporting.page import render_report

    path = Path(asked.output)
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"--output must name a file in a folder that exists; got {asked.output!r}.")
    evidence = evidence_from(read_runs(asked), read_rule(asked))
    path.write_text(render_report(evidence), encoding="utf-8")
    print(f"Wrote {path}.", file=sys.stderr)
    if asked.json:
        print(json.dumps(evidence.answer.to_json()))
    return 0
