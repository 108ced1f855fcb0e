"""`batch-size probe`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from tuning.commands.options import (
    add_memory_limit,
    add_workload,
    console,
    read_memory_limit,
    read_workload,
    silent_start,
)
from tuning.loops.loop import LOOP_CHOICES


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("probe", help="what fits, how fast, how noisy the gradient; no search")
    add_workload(parser)
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the training set of a trial to come")
    parser.add_argument("--loop", choices=LOOP_CHOICES, default="auto", help="how trials would be trained (auto)")
    add_memory_limit(parser)
    parser.add_argument("--plot", metavar="FILE", help="draw the findings into this .png or .svg")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow's store (sqlite:///mlflow.db)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=probe)


def probe(asked: argparse.Namespace) -> int:
    """`batch-size probe`: what fits, how fast, how noisy; no search."""
    from tuning.record.runs import log_measurement
    from tuning.record.store import TrackingError, check_store, resolve_tracking_uri
    from tuning.search.probing import probe_workload
    from tuning.show.probe_page import FORMATS, render

    file_format = "png" if asked.plot is None else Path(asked.plot).suffix.lstrip(".").lower()
    if file_format not in FORMATS:
        raise ValueError(f"--plot must name a .png or .svg file; got {asked.plot!r}.")
    check_store(resolve_tracking_uri(asked.tracking_uri))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silent_start():
        workload = read_workload(asked)
    found = probe_workload(
        workload,
        epochs=asked.epochs,
        memory_limit_bytes=read_memory_limit(asked),
        loop=asked.loop,
        tell=lambda line: None if asked.quiet else print(f"probing {line}", file=sys.stderr),
    )
    picture, told = render(found, file_format), json.dumps(found.to_json())
    if asked.plot is not None:
        Path(asked.plot).write_bytes(picture)
    try:
        log_measurement(
            asked.tracking_uri,
            f"{workload.name}-probe",
            found.measurement,
            files={"probe.json": told, f"probe.{file_format}": picture},
        )
    except TrackingError as error:  # what took a minute to measure is told all the same
        print(f"batch-size: {error}", file=sys.stderr)
    if asked.json:
        print(told)
    else:
        found.show(console())
    return 0 if found.memory.verified else 1
