"""The options of a search: what is tried and how it runs, as they are asked for and as they are read."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from search_spaces.learning_rate import RULES
from tuning.commands.parser import Parser
from tuning.commands.source import add_fit_options, add_workload
from tuning.commands.telling import read_rule
from tuning.commands.values import count, repeats, repeats_or_auto, study_name, word
from tuning.loops.loop import LOOP_CHOICES

if TYPE_CHECKING:
    from search_spaces.batch_size import BatchSize
    from search_spaces.learning_rate import LearningRate
    from tuning.search.options import SearchOptions

_BOUNDS = {"tune": ("1", "4096, less where data are few")}
_SEEDS = {
    "grid": "trainings per setting, or auto: 2, and up to 5 where that may change the pick",
    "bayes": "fresh seeds for each leading batch size",
    "tune": "fresh seeds for each batch size",
}


def search_options(kind: str) -> Parser:
    """Return a parent parser with what a kind of search tries, and how it runs."""
    parser = Parser(add_help=False)
    add_workload(parser)
    _add_space(parser.add_argument_group("what is tried"), kind)
    how = parser.add_argument_group("how it runs")
    _add_study(how, kind)
    _add_workers(how)
    _add_ends(how, kind)
    return parser


def _add_space(space: argparse._ActionsContainer, kind: str) -> None:
    low, high = _BOUNDS.get(kind, ("8", "an eighth of the data, at most 1024"))
    space.add_argument("--batch-sizes", metavar="LIST", help="such as 1,32,full (default: powers of 2)")
    about = f"the smallest power of 2 to try (default: {low})"
    space.add_argument("--min-batch", type=count, metavar="N", help=about)
    about = f"the largest power of 2 to try (default: {high})"
    space.add_argument("--max-batch", type=count, metavar="N", help=about)
    about = "such as 1e-4,1e-3; each at every batch size (default: the model's own, following the batch size)"
    space.add_argument("--learning-rates", metavar="LIST", help=about)
    about = (
        "how the model's own rate follows the batch size: sqrt, linear, constant, or auto: linear for SGD, else sqrt"
    )
    space.add_argument("--scaling", choices=RULES, help=f"{about} (default: auto)")
    about = "the batch size whose updates a schedule counts, or training, or off (default: where the rate is right)"
    space.add_argument("--schedule-batch-size", metavar="N", help=about)
    about = "let weight decay follow the batch size (default: on)"
    space.add_argument("--scale-decay", action=argparse.BooleanOptionalAction, default=True, help=about)
    about = "let beta_2 and its kin follow the batch size, too (default: off)"
    space.add_argument("--scale-betas", action="store_true", help=about)
    add_fit_options(space)
    about = "passes over the training set per trial (default: the workload's, else 5)"
    space.add_argument("--epochs", type=count, metavar="N", help=about)
    kind_of = repeats_or_auto if kind == "grid" else repeats
    space.add_argument("--seeds", type=kind_of, default=3, metavar="N", help=f"{_SEEDS[kind]} (default: 3)")
    about = "the metric that decides, NAME:max or NAME:min if unclear; ,seconds_to_target adds the Pareto set"
    space.add_argument("--objective", type=word, metavar="NAME", help=f"{about} (default: val_accuracy, else val_loss)")


def _add_study(how: argparse._ActionsContainer, kind: str) -> None:
    about = f"the study's name; the same name continues it, and lets it grow (default: WORKLOAD-{kind})"
    how.add_argument("--study", type=study_name, metavar="NAME", help=about)
    how.add_argument("--fresh", action="store_true", help="start over; what there was is set aside")
    about = "write these options into a .toml file, for batch-size run, before the search starts (default: none)"
    how.add_argument("--save-config", type=word, metavar="FILE", help=about)
    if kind == "grid":
        about = "keep where each training ended, for more --epochs to go on from (default: off)"
        how.add_argument("--keep", action="store_true", help=about)
    about = "an Optuna storage (default: a file in batch_size_studies/)"
    how.add_argument("--storage", type=word, metavar="URL", help=about)


def _add_workers(how: argparse._ActionsContainer) -> None:
    about = "worker processes (default: auto, one per GPU, or per core where that is faster)"
    how.add_argument("--workers", default="auto", metavar="N", help=about)
    about = "CPU threads of a worker (default: auto, measured)"
    how.add_argument("--threads", default="auto", metavar="N", help=about)
    about = "how models are trained (default: auto, measured)"
    how.add_argument("--loop", choices=LOOP_CHOICES, default="auto", help=about)
    add_engine(how)
    add_memory_limit(how)
    how.add_argument("--no-probe", action="store_true", help="do not learn first which batch sizes fit into memory")
    how.add_argument("--accumulate", action="store_true", help="train batches that do not fit as micro-batches")


def _add_ends(how: argparse._ActionsContainer, kind: str) -> None:
    about = f"stop trials that are behind others of their batch size (default: {'on' if kind == 'tune' else 'off'})"
    how.add_argument("--prune", action=argparse.BooleanOptionalAction, help=about)
    about = "answer after so many seconds with what is known (default: no limit)"
    how.add_argument("--timeout", type=float, metavar="S", help=about)
    about = "end a trial that takes longer, as one that hangs (default: no limit)"
    how.add_argument("--trial-timeout", type=float, metavar="S", help=about)
    about = "end a trial that shows no sign of life for so many seconds (default: 600)"
    how.add_argument("--silence-timeout", type=float, default=600.0, metavar="S", help=about)
    how.add_argument("--quiet", action="store_true", help="show no progress")


def add_engine(parser: argparse._ActionsContainer, *, measures: bool = True) -> None:
    """Declare where trials run, and the kind of device for which what is measured holds, if anything is."""
    about = "where trials run: on this machine, or on a Ray cluster (default: local)"
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help=about)
    about = "auto for the cluster of this machine, HOST:PORT of a head, or local to start Ray here (default: auto)"
    parser.add_argument("--ray-address", type=word, default="auto", metavar="ADDRESS", help=about)
    about = "with ray: the CPUs of a trial, which are its threads (default: 1)"
    parser.add_argument("--cpus-per-trial", type=count, metavar="N", help=about)
    about = "the GPUs that share a trial, 0 for the CPU (default: 1 if there are any)"
    parser.add_argument("--gpus-per-trial", type=int, metavar="N", help=about)
    if not measures:
        return
    about = "with ray: the kind of device that the answer holds for (default: the one that runs most trials)"
    parser.add_argument("--device-kind", type=word, metavar="NAME", help=about)


def read_engine(asked: argparse.Namespace) -> dict[str, Any]:
    """Return where trials run, as `SearchOptions` takes it."""
    names = ("engine", "ray_address", "cpus_per_trial", "gpus_per_trial", "device_kind")
    return {name: getattr(asked, name) for name in names if hasattr(asked, name)}


def add_memory_limit(parser: argparse._ActionsContainer) -> None:
    """Declare the limit of memory."""
    about = "memory that a worker may use, such as 3GiB (default: what there is)"
    parser.add_argument("--memory-limit", metavar="SIZE", help=about)


def read_options(asked: argparse.Namespace) -> SearchOptions:
    """Return how the search runs."""
    from tuning.search.options import SearchOptions

    return SearchOptions(
        tracking_uri=asked.tracking_uri,
        storage=asked.storage,
        workers=read_count("--workers", asked.workers),
        threads=read_count("--threads", asked.threads),
        loop=asked.loop,
        timeout_s=asked.timeout,
        trial_timeout_s=asked.trial_timeout,
        silence_timeout_s=asked.silence_timeout,
        memory_limit_bytes=read_memory_limit(asked),
        probe=not asked.no_probe,
        accumulate=asked.accumulate,
        prune=asked.prune,
        schedule_batch_size=_as_count(asked.schedule_batch_size),
        scale_weight_decay=asked.scale_decay,
        scale_betas=asked.scale_betas,
        keep_models=0,
        keep_states=getattr(asked, "keep", False),  # a grid's
        quiet=asked.quiet,
        **read_engine(asked),
        **read_rule(asked),
    )


def _as_count(text: str | None) -> int | str | None:
    """Return a number where it is one, and the text where it is a word."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() else text


def read_batch_size(asked: argparse.Namespace) -> BatchSize | None:
    """Return the batch sizes asked for, if any."""
    from search_spaces.batch_size import BatchSize, parse_batch_sizes

    bounds = (asked.min_batch, asked.max_batch)
    if asked.batch_sizes is not None:
        if bounds != (None, None):
            raise ValueError("Give either --batch-sizes or --min-batch and --max-batch, not both.")
        return parse_batch_sizes(asked.batch_sizes)
    return None if bounds == (None, None) else BatchSize(*bounds)


def read_learning_rate(asked: argparse.Namespace) -> LearningRate | None:
    """Return the learning rates asked for, if any."""
    from search_spaces.learning_rate import LearningRate, parse_learning_rates

    if asked.learning_rates is not None:
        if asked.scaling is not None:
            raise ValueError("Give either --learning-rates or --scaling, not both.")
        return parse_learning_rates(asked.learning_rates)
    return None if asked.scaling is None else LearningRate(rule=asked.scaling)


def read_count(option: str, text: str) -> int | None:
    """Return how many; None for "auto"."""
    if text == "auto":
        return None
    try:
        return count(text)
    except argparse.ArgumentTypeError:
        raise ValueError(f"{option} must be a whole number of at least 1, or 'auto'; got {text!r}.") from None


def read_memory_limit(asked: argparse.Namespace) -> int | None:
    """Return the limit in bytes, if asked for."""
    from tuning.run.memory_limit import parse_bytes

    return None if asked.memory_limit is None else parse_bytes(asked.memory_limit)
