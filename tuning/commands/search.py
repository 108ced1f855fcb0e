"""`batch-size tune`, `batch-size grid` and `batch-size bayes`."""

from __future__ import annotations

import argparse
import os
from typing import Any

from tuning.commands.options import (
    read_arguments,
    read_batch_size,
    read_learning_rate,
    read_options,
    read_workload,
    search_options,
    silent_start,
    tell,
    telling_options,
)
from tuning.commands.values import count, repeats, seed
from tuning.plans import SAMPLERS
from tuning.search.options import check_study_name
from tuning.search.preparation import running_executor

STUDIES = "batch_size_studies"


def add(commands: Any) -> None:
    """Declare the commands."""
    parents = [search_options(), telling_options()]
    about = "find the batch size that trains soonest, in stages: the recommended way"
    found = commands.add_parser("tune", parents=parents, help=about)
    found.add_argument("--first-seed", type=seed, default=0, metavar="N", help="of the search; fresh seeds follow (0)")
    found.set_defaults(run=tune)
    found = commands.add_parser("grid", parents=parents, help="train every batch size with every seed")
    found.set_defaults(run=grid)
    found = commands.add_parser("bayes", parents=parents, help="propose settings from what has been seen")
    found.add_argument("--trials", type=repeats, default=30, metavar="N", help="proposals (30)")
    found.add_argument("--sampler", choices=SAMPLERS, default="gp", help="what proposes (gp)")
    found.add_argument(
        "--start-batch-size", type=count, metavar="N", help="one to try early, such as a probe's forecast"
    )
    found.set_defaults(run=bayes)


def tune(asked: argparse.Namespace) -> int:
    """`batch-size tune`: learning rates at a reference, batch sizes around the forecast, fresh seeds."""
    return _search("tune", asked, first_seed=asked.first_seed)


def grid(asked: argparse.Namespace) -> int:
    """`batch-size grid`: every batch size with every seed."""
    return _search("grid", asked)


def bayes(asked: argparse.Namespace) -> int:
    """`batch-size bayes`: proposals from what has been seen, the leaders confirmed."""
    return _search(
        "bayes", asked, max_trials=asked.trials, sampler=asked.sampler, start_batch_size=asked.start_batch_size
    )


def _search(kind: str, asked: argparse.Namespace, **more: Any) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the driver computes nothing; workers log to files
    options = read_options(asked)  # refused before anything is loaded
    batch_size, learning_rate = read_batch_size(asked), read_learning_rate(asked)
    with silent_start():
        workload = read_workload(asked)
    name = asked.study or f"{workload.name}-{kind}"
    check_study_name(name)
    given = {
        "batch_size": batch_size or workload.batch_size,
        "learning_rate": learning_rate or workload.learning_rate,
        "objective": asked.objective or workload.objective,
        "seeds": asked.seeds,
        "directory": STUDIES,
        "project_name": name,
        "overwrite": asked.fresh,
        **more,
    }
    arguments = read_arguments(workload, asked)
    if given["batch_size"] is not None:
        given["batch_size"].within(arguments.data.n_train)
    with running_executor(workload.build, arguments, options) as executor:  # starts while the driver imports Keras
        with silent_start():
            from tuning.tuners import BayesianOptimization, GridSearch, StagedSearch
        tuner_class: Any = {"tune": StagedSearch, "grid": GridSearch, "bayes": BayesianOptimization}[kind]
        tuner = tuner_class(workload.build, options=options, **given)
        tuner.run(arguments, executor)
    return tell(tuner.answer, asked)
