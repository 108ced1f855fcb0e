"""The runs in MLflow that a command recommends from: a study of ours, or those of another program."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuning.tracking.reading import StudyRecord


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Declare which runs to recommend from."""
    parser.add_argument("study", nargs="?", metavar="STUDY", help="the latest if not told")
    parser.add_argument("--experiment", metavar="NAME", help="an MLflow experiment that any program logged")
    parser.add_argument("--param", default="batch_size", metavar="NAME", help="its batch-size parameter (batch_size)")
    parser.add_argument("--metric", metavar="NAME", help="its metric that decides, such as val_accuracy")
    parser.add_argument("--mode", choices=("max", "min"), help="whether larger is better, if the name does not tell")


def read_runs(asked: argparse.Namespace) -> StudyRecord:
    """What MLflow holds of the runs asked for.

    Raises:
        ValueError: If foreign runs were asked for without the metric that decides.
        TrackingError: If there are no such runs.
    """
    from tuning.tracking.reading import latest_study, read_foreign, read_study

    if asked.experiment is None:
        return read_study(asked.tracking_uri, asked.study or latest_study(asked.tracking_uri))
    if asked.metric is None:
        raise ValueError("--experiment needs --metric NAME, the metric that decides; got none.")
    return read_foreign(asked.tracking_uri, asked.experiment, param=asked.param, metric=asked.metric, mode=asked.mode)
