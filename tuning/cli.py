"""batch-size: the command line. What loads TensorFlow is imported only by the commands that train."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from search_spaces.batch_size import BatchSize, parse_batch_sizes
from search_spaces.learning_rate import RULES, LearningRate, parse_learning_rates
from search_spaces.workload import BUILT_IN, Workload, load_workload
from tuning.execution.memory_limit import parse_bytes
from tuning.execution.starting import running_executor
from tuning.options import LOOPS, SearchOptions
from tuning.search_arguments import SearchArguments

OK, NOTHING, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
STUDIES = "batch_size_studies"
_PICK_RULES = ("fastest", "balanced", "quality")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} See {self.prog} --help.", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 with a recommendation, 1 if no trial completed or there is nothing to pick from, 2 for bad input,
        130 when interrupted.
    """
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(asked.run(asked))
    except ValueError as error:
        return _refuse(error)
    except KeyboardInterrupt:
        print(f"\nInterrupted. Nothing finished is lost; continue with: {_again(arguments)}", file=sys.stderr)
        return INTERRUPTED


def grid(asked: argparse.Namespace) -> int:
    """`batch-size grid`: every batch size with every seed."""
    return _search("grid", asked)


def bayes(asked: argparse.Namespace) -> int:
    """`batch-size bayes`: proposals from what has been seen, the leaders confirmed."""
    return _search("bayes", asked, max_trials=asked.trials)


def probe(asked: argparse.Namespace) -> int:
    """`batch-size probe`: what fits, how fast, how noisy; no search."""
    from tuning.probing.plot import FORMATS, render
    from tuning.probing.running import probe_workload
    from tuning.tracking.probe_run import log_probe
    from tuning.tracking.store import TrackingError, check_store, resolve_tracking_uri

    file_format = "png" if asked.plot is None else Path(asked.plot).suffix.lstrip(".").lower()
    if file_format not in FORMATS:
        raise ValueError(f"--plot must name a .png or .svg file; got {asked.plot!r}.")
    check_store(resolve_tracking_uri(asked.tracking_uri))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _silent_start():
        workload = _workload(asked)
    found = probe_workload(
        workload,
        epochs=asked.epochs,
        memory_limit_bytes=_memory_limit(asked),
        loop=asked.loop,
        tell=lambda line: None if asked.quiet else print(f"probing {line}", file=sys.stderr),
    )
    picture, told = render(found, file_format), json.dumps(found.to_json())
    if asked.plot is not None:
        Path(asked.plot).write_bytes(picture)
    try:
        log_probe(
            asked.tracking_uri,
            f"{workload.name}-probe",
            params=found.parameters(),
            metrics=found.metrics(),
            files={"probe.json": told, f"probe.{file_format}": picture},
        )
    except TrackingError as error:  # what took a minute to measure is told all the same
        print(f"batch-size: {error}", file=sys.stderr)
    if asked.json:
        print(told)
    else:
        found.show(_console())
    return OK if found.memory.verified else NOTHING


def pick(asked: argparse.Namespace) -> int:
    """`batch-size pick`: recommend again, from MLflow alone."""
    from tuning.picking import pick_from_experiment, pick_from_study

    if asked.experiment is not None:
        if asked.metric is None:
            raise ValueError("--experiment needs --metric NAME, the metric that decides; got none.")
        answer = pick_from_experiment(
            asked.tracking_uri,
            asked.experiment,
            param=asked.param,
            metric=asked.metric,
            mode=asked.mode,
            **_rule(asked),
        )
    else:
        answer = pick_from_study(asked.tracking_uri, asked.study, **_rule(asked))
    return _tell(answer, asked)


def ui(asked: argparse.Namespace) -> int:
    """`batch-size ui`: MLflow's UI at the study's saved view."""
    from tuning.tracking.ui import serve

    return serve(asked.tracking_uri, asked.study, host=asked.host, port=asked.port)


def workloads(_: argparse.Namespace) -> int:
    """`batch-size workloads`: what is built in."""
    for name in sorted(BUILT_IN):
        found = load_workload(name)
        print(f"{name:12s} {found.description}; {found.epochs} epochs, {found.objective or 'val_accuracy or val_loss'}")
    return OK


def _search(kind: str, asked: argparse.Namespace, **more: Any) -> int:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # the driver computes nothing; workers log to files
    with _silent_start():
        workload = _workload(asked)
    given = {
        "batch_size": _batch_size(asked) or workload.batch_size,
        "learning_rate": _learning_rate(asked) or workload.learning_rate,
        "objective": asked.objective or workload.objective,
        "seeds": asked.seeds,
        "directory": STUDIES,
        "project_name": asked.study or f"{workload.name}-{kind}",
        "overwrite": asked.fresh,
        **more,
    }
    epochs = workload.epochs if asked.epochs is None else asked.epochs
    arguments, options = SearchArguments(workload.load_data(), epochs), _options(asked)
    with running_executor(workload.build, arguments, options) as executor:  # starts while the driver imports Keras
        with _silent_start():
            from tuning.tuners import BayesianOptimization, GridSearch
        tuner_class: Any = {"grid": GridSearch, "bayes": BayesianOptimization}[kind]
        tuner = tuner_class(workload.build, options=options, **given)
        tuner.run(arguments, executor)
    return _tell(tuner.answer, asked)


def _options(asked: argparse.Namespace) -> SearchOptions:
    return SearchOptions(
        tracking_uri=asked.tracking_uri,
        storage=asked.storage,
        workers=_workers(asked.workers),
        loop=asked.loop,
        timeout_s=asked.timeout,
        memory_limit_bytes=_memory_limit(asked),
        probe=not asked.no_probe,
        accumulate=asked.accumulate,
        keep_models=0,
        quiet=asked.quiet,
        **_rule(asked),
    )


@contextlib.contextmanager
def _silent_start() -> Iterator[None]:
    """Keep TensorFlow's start-up messages, which it writes past Python, off the terminal unless it cannot start."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except ValueError:  # bad input, told in one line
            raise
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _workload(asked: argparse.Namespace) -> Workload:
    found = load_workload(asked.workload)
    return found if asked.data is None else found.with_data_file(asked.data)


def _tell(answer: Any, asked: argparse.Namespace) -> int:
    if asked.json:
        print(json.dumps(answer.to_json()))
    else:
        answer.show(_console())
        where = f" --tracking-uri {answer.tracking_uri}" if asked.tracking_uri else ""
        print(f"\nBrowse the trials: batch-size ui {answer.study}{where}")
    return OK


def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 80)


def _refuse(error: ValueError) -> int:
    from tuning.selection.recommendation import NothingToRecommend

    print(f"batch-size: {' '.join(str(error).split())}", file=sys.stderr)
    return NOTHING if isinstance(error, NothingToRecommend) else BAD_INPUT


def _again(arguments: Sequence[str] | None) -> str:
    words = list(sys.argv[1:] if arguments is None else arguments)
    return "batch-size " + " ".join(word for word in words if word != "--fresh")


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _batch_size(asked: argparse.Namespace) -> BatchSize | None:
    bounds = (asked.min_batch, asked.max_batch)
    if asked.batch_sizes is not None:
        if bounds != (None, None):
            raise ValueError("Give either --batch-sizes or --min-batch and --max-batch, not both.")
        return parse_batch_sizes(asked.batch_sizes)
    return None if bounds == (None, None) else BatchSize(*bounds)


def _learning_rate(asked: argparse.Namespace) -> LearningRate | None:
    if asked.learning_rates is not None:
        if asked.scaling is not None:
            raise ValueError("Give either --learning-rates or --scaling, not both.")
        return parse_learning_rates(asked.learning_rates)
    return None if asked.scaling is None else LearningRate(rule=asked.scaling)


def _workers(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit():
        raise ValueError(f"--workers must be a whole number or 'auto'; got {text!r}.")
    return int(text)


def _memory_limit(asked: argparse.Namespace) -> int | None:
    return None if asked.memory_limit is None else parse_bytes(asked.memory_limit)


def _rule(asked: argparse.Namespace) -> dict[str, Any]:
    return {"rule": asked.rule, "tolerance": asked.tolerance, "target": asked.target}


def _parser() -> Parser:
    parser = Parser(prog="batch-size", description="Which batch size should I train with, and why?")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    search = _search_options()
    told = _telling_options()
    found = commands.add_parser("grid", parents=[search, told], help="train every batch size with every seed")
    found.set_defaults(run=grid)
    found = commands.add_parser("bayes", parents=[search, told], help="propose settings from what has been seen")
    found.add_argument("--trials", type=int, default=30, metavar="N", help="proposals (30)")
    found.set_defaults(run=bayes)
    _add_probe(commands.add_parser("probe", help="what fits, how fast, how noisy the gradient; no search"))
    _add_pick(commands.add_parser("pick", parents=[told], help="recommend again from MLflow, also for foreign runs"))
    _add_ui(commands.add_parser("ui", help="open MLflow's UI on a study"))
    commands.add_parser("workloads", help="list what is built in").set_defaults(run=workloads)
    return parser


def _add_probe(parser: argparse.ArgumentParser) -> None:
    _add_workload(parser)
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training set of a trial to come")
    parser.add_argument("--loop", choices=LOOPS, default="auto", help="how trials would be trained (auto)")
    _add_memory_limit(parser)
    parser.add_argument("--plot", metavar="FILE", help="draw the findings into this .png or .svg")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's store (sqlite:///mlflow.db)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=probe)


def _add_workload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workload", metavar="WORKLOAD", help="a name, package.module:attribute or file.py:attribute")
    parser.add_argument("--data", metavar="FILE", help="train on this file instead, usually an .npz")


def _add_memory_limit(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--memory-limit", metavar="SIZE", help="memory that a worker may use, such as 3GiB")


def _add_pick(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", nargs="?", metavar="STUDY", help="the latest if not told")
    parser.add_argument("--experiment", metavar="NAME", help="an MLflow experiment that any program logged")
    parser.add_argument("--param", default="batch_size", metavar="NAME", help="its batch-size parameter (batch_size)")
    parser.add_argument("--metric", metavar="NAME", help="its metric that decides, such as val_accuracy")
    parser.add_argument("--mode", choices=("max", "min"), help="whether larger is better, if the name does not tell")
    parser.set_defaults(run=pick)


def _add_ui(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", nargs="?", metavar="STUDY", help="the latest if not told")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's store (sqlite:///mlflow.db)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="a free one if not told")
    parser.set_defaults(run=ui)


def _telling_options() -> Parser:
    parser = Parser(add_help=False)
    group = parser.add_argument_group("recommendation")
    group.add_argument("--rule", choices=_PICK_RULES, default="fastest", help="what to optimise for (fastest)")
    group.add_argument("--tolerance", type=float, metavar="X", help="loss of objective accepted for speed")
    group.add_argument("--target", type=float, metavar="V", help="objective to reach; judge by the time to it")
    group.add_argument("--tracking-uri", metavar="URI", help="MLflow's store (sqlite:///mlflow.db)")
    group.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    return parser


def _search_options() -> Parser:
    parser = Parser(add_help=False)
    _add_workload(parser)
    space = parser.add_argument_group("what is tried")
    space.add_argument("--batch-sizes", metavar="LIST", help="such as 1,32,full")
    space.add_argument("--min-batch", type=int, metavar="N", help="smallest power of 2 (8)")
    space.add_argument("--max-batch", type=int, metavar="N", help="largest (an eighth of the data, at most 1024)")
    space.add_argument("--learning-rates", metavar="LIST", help="such as 1e-4,1e-3; each at every batch size")
    space.add_argument("--scaling", choices=RULES, help="how the model's own rate follows the batch size (auto)")
    space.add_argument("--epochs", type=int, metavar="N", help="passes over the training set per trial")
    space.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings per setting (3)")
    space.add_argument("--objective", metavar="NAME", help="metric that decides, NAME:max or NAME:min if unclear")
    how = parser.add_argument_group("how it runs")
    how.add_argument("--study", metavar="NAME", help="the same name continues (WORKLOAD-COMMAND)")
    how.add_argument("--fresh", action="store_true", help="start over; what there was is set aside")
    how.add_argument("--workers", default="auto", metavar="N", help="one per GPU, or one on the CPU, if not told")
    how.add_argument("--loop", choices=LOOPS, default="auto", help="how models are trained (auto)")
    _add_memory_limit(how)
    how.add_argument("--no-probe", action="store_true", help="do not learn first which batch sizes fit into memory")
    how.add_argument("--accumulate", action="store_true", help="train batches that do not fit as micro-batches")
    how.add_argument("--timeout", type=float, metavar="S", help="start no trial after this many seconds")
    how.add_argument("--storage", metavar="URL", help="Optuna storage (a file in the study's directory)")
    how.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


if __name__ == "__main__":
    sys.exit(main())
