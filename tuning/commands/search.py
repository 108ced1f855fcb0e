"""`batch-size tune`, `batch-size grid` and `batch-size bayes`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.commands.parser import Parser
from tuning.commands.search_options import (
    read_batch_size,
    read_learning_rate,
    read_options,
    search_options,
)
from tuning.commands.silence import silent_start
from tuning.commands.source import read_arguments, read_workload
from tuning.commands.stages import Stages
from tuning.commands.study_file import to_toml
from tuning.commands.telling import STUDIES, tell, telling_options
from tuning.commands.values import check_output, count, repeats, seed
from tuning.commands.workers import ask_for_model, running_executor, starting_workers
from tuning.plans import SAMPLERS
from tuning.search.limits import check_study_name
from tuning.stats.rules import TOLERANCE_LOSS

if TYPE_CHECKING:
    from tuning.search.method import Method
    from tuning.search.options import SearchOptions
    from tuning.search.wishes import Wishes
    from tuning.show.answer import Answer


def add(commands: Any) -> None:
    """Declare the commands."""
    about = "find the batch size that trains soonest, in stages: the recommended way"
    found = _add(commands, "tune", about, "batch-size tune digits --seeds 3")
    about = "the seed of the search; fresh seeds follow it (default: 0)"
    found.add_argument("--first-seed", type=seed, default=0, metavar="N", help=about)
    about = "the share of its time that the pick may be expected to lose; no seeds are trained for less (default: 0.01)"
    found.add_argument("--tolerance-loss", type=float, default=TOLERANCE_LOSS, metavar="X", help=about)
    found.set_defaults(run=tune)
    about = "train every batch size with every seed"
    _add(commands, "grid", about, "batch-size grid digits --batch-sizes 8,32,128").set_defaults(run=grid)
    about = "propose settings from what has been seen, and confirm the leaders"
    found = _add(commands, "bayes", about, "batch-size bayes digits --trials 20")
    found.add_argument("--trials", type=repeats, default=30, metavar="N", help="proposals (default: 30)")
    found.add_argument("--sampler", choices=SAMPLERS, default="gp", help="what proposes (default: gp)")
    about = "a batch size to try early, such as a probe's forecast (default: none)"
    found.add_argument("--start-batch-size", type=count, metavar="N", help=about)
    found.set_defaults(run=bayes)


def _add(commands: Any, kind: str, about: str, example: str) -> Parser:
    parents = [search_options(kind), telling_options()]
    found: Parser = commands.add_parser(kind, parents=parents, help=about, description=about, example=example)
    return found


def tune(asked: argparse.Namespace) -> int:
    """`batch-size tune`: learning rates at a reference, batch sizes around the forecast, fresh seeds."""

    def method(wishes: Wishes, options: SearchOptions) -> Method:
        from tuning.search.methods import tune_method

        return tune_method(wishes, options, first_seed=asked.first_seed, tolerance_loss=asked.tolerance_loss)

    return _search("tune", asked, method)


def grid(asked: argparse.Namespace) -> int:
    """`batch-size grid`: every batch size with every seed."""

    def method(wishes: Wishes, options: SearchOptions) -> Method:
        from tuning.search.methods import grid_method

        return grid_method(wishes, options)

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
    with Stages(quiet=asked.quiet or asked.json) as stage:
        stage("Starting a worker, which loads TensorFlow")
        _run(kind, asked, make_method, stage)
    return 0


def _run(
    kind: str, asked: argparse.Namespace, make_method: Callable[[Wishes, SearchOptions], Method], stage: Stages
) -> None:
    options = read_options(asked)  # refused before anything is started or loaded
    batch_size, learning_rate = read_batch_size(asked), read_learning_rate(asked)
    if asked.save_config:
        check_output("--save-config", asked.save_config)
    with starting_workers(options) as starter:  # TensorFlow takes them seconds, and nothing else takes longer
        with silent_start():  # a file of the user's may import it, too
            workload = read_workload(asked)
        from tuning.search.preparation import check_sizes
        from tuning.search.wishes import Wishes

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
        if asked.save_config:
            Path(asked.save_config).write_text(to_toml(kind, asked), encoding="utf-8")
        directory = Path(STUDIES, name)
        from tuning.search.options import RAY

        if options.engine == RAY:  # a driver that runs the study may hold all devices of the cluster
            from tuning.study.claim import refuse_if_run

            refuse_if_run(directory, options.storage, name)
        weights = directory.resolve() / "weights"
        with running_executor(workload.build, arguments, options, weights, starter=starter) as executor:
            question = ask_for_model(executor)  # before MLflow, Optuna and SciPy are loaded
            from tuning.search.search import Search
            from tuning.study.study import Study

            def show(answer: Answer) -> None:
                stage("")
                tell(answer, asked)

            search = Search(
                Study(name), make_method(wishes, options), wishes, options=options, directory=directory, stage=stage
            )
            search.run(arguments, executor, fresh=asked.fresh, question=question, show=show)
