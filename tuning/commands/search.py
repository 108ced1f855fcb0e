"""`batch-size tune`, `batch-size grid` and `batch-size bayes`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.commands.options import (
    STUDIES,
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
from tuning.search.options import SearchOptions, check_study_name
from tuning.search.preparation import ask_for_model, check_sizes, running_executor, starting_workers
from tuning.search.wishes import Wishes

if TYPE_CHECKING:
    from tuning.search.search import Method


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

    def method(wishes: Wishes, options: SearchOptions) -> Method:
        from tuning.search.methods import tune_method

        return tune_method(wishes, options, first_seed=asked.first_seed)

    return _search("tune", asked, method)


def grid(asked: argparse.Namespace) -> int:
    """`batch-size grid`: every batch size with every seed."""

    def method(wishes: Wishes, _: SearchOptions) -> Method:
        from tuning.search.methods import grid_method

        return grid_method(wishes)

    return _search("grid", asked, method)


def bayes(asked: argparse.Namespace) -> int:
    """`batch-size bayes`: proposals from what has been seen, the leaders confirmed."""

    def method(wishes: Wishes, options: SearchOptions) -> Method:
        from tuning.search.methods import bayes_method

        return bayes_method(
            wishes,
            options,
            max_trials=asked.trials,
            sampler=asked.sampler,
            start_batch_size=asked.start_batch_size,
        )

    return _search("bayes", asked, method)


def _search(kind: str, asked: argparse.Namespace, make_method: Callable[[Wishes, SearchOptions], Method]) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # this process computes nothing; workers log to files
    options = read_options(asked)  # refused before anything is started or loaded
    batch_size, learning_rate = read_batch_size(asked), read_learning_rate(asked)
    with starting_workers(options) as starter:  # TensorFlow takes them seconds, and nothing else takes longer
        with silent_start():  # a file of the user's may import it, too
            workload = read_workload(asked)
        wishes = Wishes.read(
            asked.objective or workload.objective,
            batch_size or workload.batch_size,
            learning_rate or workload.learning_rate,
            asked.seeds,
        )
        name = asked.study or f"{workload.name}-{kind}"
        check_study_name(name)
        arguments = read_arguments(workload, asked)
        check_sizes(wishes.batch_size, arguments.data)
        with running_executor(workload.build, arguments, options, starter=starter) as executor:
            question = ask_for_model(executor)  # before MLflow, Optuna and SciPy are loaded
            from tuning.search.search import Search
            from tuning.study.study import Study

            method, directory = make_method(wishes, options), Path(STUDIES, name)
            search = Search(Study(name), method, wishes, options=options, directory=directory)
            search.run(arguments, executor, fresh=asked.fresh, question=question, show=lambda found: tell(found, asked))
    return 0
