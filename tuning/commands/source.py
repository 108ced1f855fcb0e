"""The model and the data of a command: how they are asked for, and how they are read."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from tuning.commands.silence import silent_start
from tuning.commands.values import count, word

if TYPE_CHECKING:
    from search_spaces.workload import Workload
    from tuning.search.options import SearchArguments

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


def add_workload(parser: argparse.ArgumentParser) -> None:
    """Declare the workload and its data."""
    about = "a name that batch-size workloads lists, package.module:attribute or file.py:attribute"
    parser.add_argument("workload", metavar="WORKLOAD", help=about)
    add_data(parser)


def add_data(parser: argparse._ActionsContainer) -> None:
    """Declare the data, where they are not the workload's own."""
    about = "train on an .npz, a folder of images, a .csv or .parquet (default: the workload's own data)"
    parser.add_argument("--data", type=word, metavar="PATH", help=about)
    about = "resize the images of a folder to this height and width (default: 256x256)"
    parser.add_argument("--image-size", type=word, metavar="HxW", help=about)
    about = "the column of a table that is the target (default: the last)"
    parser.add_argument("--label", type=word, metavar="NAME", help=about)
    about = "the share, from the end, that validates where the data have no such part (default: the workload's)"
    parser.add_argument("--validation-split", type=float, metavar="S", help=about)


def add_fit_options(group: argparse._ActionsContainer) -> None:
    """Declare what is handed on to `fit`."""
    about = "Keras callbacks, a list or a function that returns one (default: the workload's)"
    group.add_argument("--callbacks", type=word, metavar="FILE:NAME", help=about)
    about = "weights of classes in the training loss, such as 0:1,1:5 (default: the workload's)"
    group.add_argument("--class-weight", metavar="LIST", help=about)
    about = "examples per validation step (default: the workload's, else 256)"
    group.add_argument("--validation-batch-size", type=count, metavar="N", help=about)


def read_workload(asked: argparse.Namespace) -> Workload:
    """Return the workload, with the data and the callbacks asked for."""
    from dataclasses import replace

    from search_spaces.deferred import deferring
    from search_spaces.workload import load_workload

    with deferring(("tensorflow", "keras", "keras_tuner"), around=silent_start):  # workers build the model, not this
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
    """Return what a search trains on, and for how long: what the command says, else the workload."""
    from tuning.search.options import EVALUATION_BATCH_SIZE, SearchArguments

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
    from search_spaces.workload import load_attribute

    location, _, name = text.rpartition(":")
    if not location or not name:
        raise ValueError(f"--callbacks must be package.module:name or path/file.py:name; got {text!r}.")
    return load_attribute(location, name)
