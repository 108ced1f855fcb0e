"""How an answer is made and told: its options, the terminal, JSON, and the summary of a GitHub job."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from tuning.commands.parser import Parser
from tuning.commands.values import word
from tuning.passwords import without_passwords
from tuning.stats.rules import COSTS, RULES

STUDIES = "batch_size_studies"
"""The folder of the studies, below the working directory."""
_SUMMARY = "GITHUB_STEP_SUMMARY"


def telling_options() -> Parser:
    """Return a parent parser with how the recommendation is made and told."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("recommendation")
    add_rule(group)
    add_tracking_uri(group)
    add_json(group)
    return parser


def add_rule(group: argparse._ActionsContainer) -> None:
    """Declare how the recommendation is made."""
    group.add_argument("--rule", choices=RULES, default="fastest", help="what to optimise for (default: fastest)")
    about = "a loss of objective, in its own units, that is accepted for speed (default: 0)"
    group.add_argument("--tolerance", type=float, metavar="X", help=about)
    about = "what decides between equally good batch sizes (default: time)"
    group.add_argument("--cost", choices=COSTS, default="time", help=about)
    about = "an objective to reach; batch sizes are judged by the time to it (default: none; in tune the reference's)"
    group.add_argument("--target", type=float, metavar="V", help=about)


def add_tracking_uri(parser: argparse._ActionsContainer) -> None:
    """Declare MLflow's store."""
    about = "MLflow's store (default: sqlite:///mlflow.db)"
    parser.add_argument("--tracking-uri", type=word, metavar="URI", help=about)


def add_json(parser: argparse._ActionsContainer) -> None:
    """Declare that scripts read the answer."""
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def read_rule(asked: argparse.Namespace) -> dict[str, Any]:
    """Return how the recommendation is made."""
    return {"rule": asked.rule, "tolerance": asked.tolerance, "target": asked.target, "cost": asked.cost}


def tell(answer: Any, asked: argparse.Namespace) -> int:
    """Show the answer as asked, and say what can be done with it."""
    _summarise(answer)
    if asked.json:
        print(json.dumps(answer.to_json()), flush=True)  # what follows, such as the report, takes a while
        return 0
    answer.show(console())
    where = f" --tracking-uri {without_passwords(answer.tracking_uri)}" if asked.tracking_uri else ""
    if (Path(STUDIES) / answer.study).is_dir():
        print(f"\nTrain the model: batch-size train {shlex.quote(answer.study)} -o model.keras", end="")
    print(f"\nBrowse the trials: batch-size ui {answer.study}{where}", flush=True)
    return 0


def _summarise(answer: Any) -> None:
    """Add the answer to the page of a GitHub job, where that names a file for it; it costs no answer if it cannot."""
    path = os.environ.get(_SUMMARY)
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as page:
            page.write(answer.to_markdown() + "\n")
    except OSError as error:
        print(f"batch-size: {_SUMMARY} must name a file that can be written; {error}.", file=sys.stderr)


def console() -> Any:
    """Return the terminal; 80 columns wide where it is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 80)
