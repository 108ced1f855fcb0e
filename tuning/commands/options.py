"""Options that several commands take, and how they are read."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from search_spaces.batch_size import BatchSize, parse_batch_sizes
from search_spaces.learning_rate import RULES, LearningRate, parse_learning_rates
from search_spaces.workload import Workload, load_attribute, load_workload
from tuning.commands.values import count, repeats, study_name, word
from tuning.loops.loop import LOOP_CHOICES
from tuning.passwords import without_passwords
from tuning.run.memory_limit import parse_bytes
from tuning.search.options import EVALUATION_BATCH_SIZE, SearchArguments, SearchOptions
from tuning.stats.costs import COSTS
from tuning.stats.decision import RULES as PICK_RULES

BAD_INPUT = 2
STUDIES = "batch_size_studies"
"""The folder of the studies, below the working directory."""
SOURCE_OPTIONS = (
    "workload",
    "data",
    "image_size",
    "label",
    "validation_split",
    "callbacks",
    "class_weight",
    "validation_batch_size",
)
"""What `read_workload` and `read_arguments` read, and a study remembers for its final model."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and takes no option by its beginning: `--seed 7` would mean `--seeds 7`."""

    def __init__(self, *args: Any, **rest: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **rest})

    def error(self, message: str) -> NoReturn:
        told = " ".join(message.split()).rstrip(".")
        print(f"{self.prog}: {without_passwords(told)}. See {self.prog} --help.", file=sys.stderr)
        raise SystemExit(BAD_INPUT)


def telling_options() -> Parser:
    """How the recommendation is made and told."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("recommendation")
    add_rule(group)
    group.add_argument("--tracking-uri", type=word, metavar="URI", help="MLflow's store (sqlite:///mlflow.db)")
    group.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    return parser


def add_rule(group: argparse._ActionsContainer) -> None:
    """Declare how the recommendation is made."""
    group.add_argument("--rule", choices=PICK_RULES, default="fastest", help="what to optimise for (fastest)")
    group.add_argument("--tolerance", type=float, metavar="X", help="loss of objective accepted for speed")
    group.add_argument("--cost", choices=COSTS, default="time", help="what decides between equally good ones (time)")
    group.add_argument("--target", type=float, metavar="V", help="objective to reach; judge by the time to it")


def search_options() -> Parser:
    """What a search tries, and how it runs."""
    parser = Parser(add_help=False)
    add_workload(parser)
    space = parser.add_argument_group("what is tried")
    space.add_argument("--batch-sizes", metavar="LIST", help="such as 1,32,full")
    space.add_argument("--min-batch", type=count, metavar="N", help="smallest power of 2 (8)")
    space.add_argument("--max-batch", type=count, metavar="N", help="largest (an eighth of the data, at most 1024)")
    space.add_argument("--learning-rates", metavar="LIST", help="such as 1e-4,1e-3; each at every batch size")
    space.add_argument("--scaling", choices=RULES, help="how the model's own rate follows the batch size (auto)")
    space.add_argument(
        "--schedule-batch-size",
        metavar="N",
        help="the one whose updates a schedule counts, or training, or off (where the rate is right)",
    )
    space.add_argument(
        "--scale-decay",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let weight decay follow the batch size (on)",
    )
    space.add_argument("--scale-betas", action="store_true", help="let beta_2 and its kin follow the batch size, too")
    add_fit_options(space)
    space.add_argument("--epochs", type=count, metavar="N", help="passes over the training set per trial")
    space.add_argument("--seeds", type=repeats, default=3, metavar="N", help="trainings per setting (3)")
    space.add_argument(
        "--objective",
        type=word,
        metavar="NAME",
        help="metric that decides, NAME:max or NAME:min if unclear; ,seconds_to_target adds the Pareto set",
    )
    how = parser.add_argument_group("how it runs")
    how.add_argument("--study", type=study_name, metavar="NAME", help="the same name continues (WORKLOAD-COMMAND)")
    how.add_argument("--fresh", action="store_true", help="start over; what there was is set aside")
    how.add_argument("--workers", default="auto", metavar="N", help="one per GPU, or per core if faster (auto)")
    how.add_argument("--threads", default="auto", metavar="N", help="of a worker on the CPU (auto: measured)")
    how.add_argument("--loop", choices=LOOP_CHOICES, default="auto", help="how models are trained (auto)")
    add_memory_limit(how)
    how.add_argument("--no-probe", action="store_true", help="do not learn first which batch sizes fit into memory")
    how.add_argument("--accumulate", action="store_true", help="train batches that do not fit as micro-batches")
    how.add_argument(
        "--prune",
        action=argparse.BooleanOptionalAction,
        help="stop trials that are behind others of their batch size (on for tune, off for the others)",
    )
    how.add_argument("--timeout", type=float, metavar="S", help="answer after so many seconds with what is known")
    how.add_argument(
        "--trial-timeout", type=float, metavar="S", help="end a trial that takes longer, as one that hangs"
    )
    how.add_argument(
        "--silence-timeout",
        type=float,
        default=600.0,
        metavar="S",
        help="end a trial that shows no sign of life for so long (600)",
    )
    how.add_argument("--storage", type=word, metavar="URL", help="Optuna storage (a file in the study's directory)")
    how.add_argument("--quiet", action="store_true", help="show no progress")
    return parser


def add_workload(parser: argparse.ArgumentParser) -> None:
    """Declare the workload and its data."""
    parser.add_argument("workload", metavar="WORKLOAD", help="a name, package.module:attribute or file.py:attribute")
    add_data(parser)


def add_data(parser: argparse._ActionsContainer) -> None:
    """Declare the data, where they are not the workload's own."""
    parser.add_argument("--data", type=word, metavar="PATH", help="an .npz, a folder of images, a .csv or .parquet")
    parser.add_argument("--image-size", type=word, metavar="HxW", help="size of the images of a folder (256x256)")
    parser.add_argument("--label", type=word, metavar="NAME", help="column of a table that is the target (the last)")
    parser.add_argument(
        "--validation-split",
        type=float,
        metavar="S",
        help="share that validates, where the data have no such part",
    )


def add_fit_options(group: argparse._ActionsContainer) -> None:
    """Declare what is handed on to `fit`."""
    group.add_argument(
        "--callbacks", type=word, metavar="FILE:NAME", help="Keras callbacks, or a function that returns them"
    )
    group.add_argument("--class-weight", metavar="LIST", help="such as 0:1,1:5; weights of classes in the loss")
    group.add_argument("--validation-batch-size", type=count, metavar="N", help="examples per validation step (256)")


def add_memory_limit(parser: argparse._ActionsContainer) -> None:
    """Declare the limit of memory."""
    parser.add_argument("--memory-limit", metavar="SIZE", help="memory that a worker may use, such as 3GiB")


def read_workload(asked: argparse.Namespace) -> Workload:
    """The workload, with the data and the callbacks asked for."""
    found = load_workload(asked.workload)
    if getattr(asked, "callbacks", None) is not None:  # a probe takes none
        found = replace(found, callbacks=_located(asked.callbacks))
    if asked.validation_split is not None:
        found = replace(found, validation_split=asked.validation_split)
    size = read_image_size(asked.image_size)
    if asked.data is not None:
        return found.with_data_file(asked.data, image_size=size, label=asked.label)
    for option, value in (("--image-size", size), ("--label", asked.label)):
        if value is not None:
            raise ValueError(f"{option} tells how --data are read; got it without --data. Leave it out.")
    return found


def read_image_size(text: str | None) -> tuple[int, int] | None:
    """Return height and width of `64x48`, or of `64` for both; None for None."""
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not height.isdecimal() or not (width or height).isdecimal():
        raise ValueError(f"--image-size must be HEIGHTxWIDTH in pixels, such as 64x64; got {text!r}.")
    return int(height), int(width or height)


def read_arguments(workload: Workload, asked: argparse.Namespace) -> SearchArguments:
    """What a search trains on, and for how long: what the command says, else the workload."""
    weights = read_class_weight(asked.class_weight) or workload.class_weight
    asked_size = asked.validation_batch_size
    size = workload.validation_batch_size if asked_size is None else asked_size
    return SearchArguments(
        workload.load_data(),
        workload.epochs if asked.epochs is None else asked.epochs,
        workload.given_callbacks(),
        EVALUATION_BATCH_SIZE if size is None else size,
        fit_options={} if weights is None else {"class_weight": weights},
        source={name: getattr(asked, name) for name in SOURCE_OPTIONS},
    )


def read_class_weight(text: str | None) -> dict[int, float] | None:
    """Return the weights of `0:1,1:5` by class; None for None."""
    if text is None:
        return None
    found = {}
    for entry in text.split(","):
        label, _, weight = entry.partition(":")
        try:
            known, found[int(label)] = int(label) in found, float(weight)
        except ValueError:
            raise ValueError(f"--class-weight must be CLASS:WEIGHT with commas between; got {entry!r}.") from None
        if known:
            raise ValueError(f"--class-weight must name each class once; got {entry!r} after another of it. Drop one.")
    return found


def _located(text: str) -> Any:
    location, _, name = text.rpartition(":")
    if not location or not name:
        raise ValueError(f"--callbacks must be package.module:name or path/file.py:name; got {text!r}.")
    return load_attribute(location, name)


def read_options(asked: argparse.Namespace) -> SearchOptions:
    """How the search runs."""
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
        quiet=asked.quiet,
        **read_rule(asked),
    )


def _as_count(text: str | None) -> int | str | None:
    """Return a number where it is one, and the text where it is a word."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() else text


def read_batch_size(asked: argparse.Namespace) -> BatchSize | None:
    """The batch sizes asked for, if any."""
    bounds = (asked.min_batch, asked.max_batch)
    if asked.batch_sizes is not None:
        if bounds != (None, None):
            raise ValueError("Give either --batch-sizes or --min-batch and --max-batch, not both.")
        return parse_batch_sizes(asked.batch_sizes)
    return None if bounds == (None, None) else BatchSize(*bounds)


def read_learning_rate(asked: argparse.Namespace) -> LearningRate | None:
    """The learning rates asked for, if any."""
    if asked.learning_rates is not None:
        if asked.scaling is not None:
            raise ValueError("Give either --learning-rates or --scaling, not both.")
        return parse_learning_rates(asked.learning_rates)
    return None if asked.scaling is None else LearningRate(rule=asked.scaling)


def read_count(option: str, text: str) -> int | None:
    """How many; None for "auto"."""
    if text == "auto":
        return None
    try:
        return count(text)
    except argparse.ArgumentTypeError:
        raise ValueError(f"{option} must be a whole number of at least 1, or 'auto'; got {text!r}.") from None


def check_output(option: str, text: str) -> None:
    """Raise ValueError unless a file could be written there, before minutes are spent on what goes into it."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{option} must name a file in a folder that exists and can be written; got {text!r}.")


def read_memory_limit(asked: argparse.Namespace) -> int | None:
    """The limit in bytes, if asked for."""
    return None if asked.memory_limit is None else parse_bytes(asked.memory_limit)


def read_rule(asked: argparse.Namespace) -> dict[str, Any]:
    """How the recommendation is made."""
    return {"rule": asked.rule, "tolerance": asked.tolerance, "target": asked.target, "cost": asked.cost}


@contextlib.contextmanager
def silent_start() -> Iterator[None]:
    """Keep TensorFlow's start-up messages, which it writes past Python, off the terminal unless it cannot start."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except (ValueError, KeyboardInterrupt):  # told in one line
            raise
        except BaseException:
            kept.seek(0)
            os.write(terminal, kept.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def tell(answer: Any, asked: argparse.Namespace) -> int:
    """Show the answer as asked, and say how to browse its trials."""
    if asked.json:
        print(json.dumps(answer.to_json()))
    else:
        answer.show(console())
        where = f" --tracking-uri {without_passwords(answer.tracking_uri)}" if asked.tracking_uri else ""
        if (Path(STUDIES) / answer.study).is_dir():
            print(f"\nTrain the model: batch-size train {shlex.quote(answer.study)} -o model.keras", end="")
        print(f"\nBrowse the trials: batch-size ui {answer.study}{where}")
    sys.stdout.flush()  # what follows, such as the report, takes a while
    return 0


def console() -> Any:
    """The terminal; 80 columns wide where it is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 80)
