"""`batch-size pick`."""

from __future__ import annotations

import argparse
from typing import Any

from tuning.commands.options import read_rule, telling_options
from tuning.commands.terminal import tell


def add(commands: Any) -> None:
    """Declare the command."""
    about = "recommend again from MLflow, also for foreign runs"
    parser = commands.add_parser("pick", parents=[telling_options()], help=about)
    add_runs(parser)
    parser.set_defaults(run=pick)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Declare which runs to recommend from."""
    parser.add_argument("study", nargs="?", metavar="STUDY", help="the latest if not told")
    parser.add_argument("--experiment", metavar="NAME", help="an MLflow experiment that any program logged")
    parser.add_argument("--param", default="batch_size", metavar="NAME", help="its batch-size parameter (batch_size)")
    parser.add_argument("--metric", metavar="NAME", help="its metric that decides, such as val_accuracy")
    parser.add_argument("--mode", choices=("max", "min"), help="whether larger is better, if the name does not tell")


def check_runs(asked: argparse.Namespace) -> None:
    """Refuse foreign runs without the metric that decides."""
    if asked.experiment is not None and asked.metric is None:
        raise ValueError("--experiment needs --metric NAME, the metric that decides; got none.")


def pick(asked: argparse.Namespace) -> int:
    """`batch-size pick`: recommend again, from MLflow alone."""
    from tuning.picking import pick_from_experiment, pick_from_study

    check_runs(asked)
    if asked.experiment is not None:
        answer = pick_from_experiment(
            asked.tracking_uri,
            asked.experiment,
            param=asked.param,
            metric=asked.metric,
            mode=asked.mode,
            **read_rule(asked),
        )
    else:
        answer = pick_from_study(asked.tracking_uri, asked.study, **read_rule(asked))
    return tell(answer, asked)
