"""`batch-size probe`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.commands.search_options import add_engine, add_memory_limit, read_engine, read_memory_limit
from tuning.commands.silence import silent_start
from tuning.commands.source import add_workload, read_workload
from tuning.commands.stages import Stages
from tuning.commands.telling import add_json, add_tracking_uri, console
from tuning.commands.values import check_output, count
from tuning.commands.workers import starting_workers
from tuning.loops.loop import AUTO, LOOP_CHOICES

if TYPE_CHECKING:
    from search_spaces.workload import Workload
    from tuning.run.ray_starter import RayStarter
    from tuning.run.starter import Starter
    from tuning.search.options import SearchOptions
    from tuning.show.inference_page import InferenceProbe
    from tuning.show.probe_page import Probe


def add(commands: Any) -> None:
    """Declare the command."""
    about = "measure what fits, how fast, how noisy the gradient; search nothing"
    example = "batch-size probe digits --inference --latency 20ms"
    parser = commands.add_parser("probe", help=about, description=about, example=example)
    add_workload(parser)
    parser.add_argument("--inference", action="store_true", help="measure inference by batch size, and nothing else")
    about = "with --inference: the bound on a call's p95, such as 20ms (default: none)"
    parser.add_argument("--latency", metavar="TIME", help=about)
    about = "passes over the training set of a trial to come (default: the workload's, else 5)"
    parser.add_argument("--epochs", type=count, metavar="N", help=about)
    parser.add_argument("--loop", choices=LOOP_CHOICES, help="how trials would be trained (default: auto)")
    about = "measure the critical batch size, too, by training on from the middle at several sizes, four times each"
    parser.add_argument("--branch", action="store_true", help=about)
    add_engine(parser)
    add_memory_limit(parser)
    parser.add_argument("--plot", metavar="FILE", help="draw the findings into this .png or .svg")
    add_tracking_uri(parser)
    add_json(parser)
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    parser.set_defaults(run=probe)


def probe(asked: argparse.Namespace) -> int:
    """`batch-size probe`: what fits, how fast, how noisy, or how fast inference is; no search."""
    with Stages(quiet=asked.quiet or asked.json) as stage:
        stage("Starting a worker, which loads TensorFlow")
        return _probe(asked, stage)


def _probe(asked: argparse.Namespace, stage: Stages) -> int:
    from tuning.search.options import SearchOptions

    loop = AUTO if asked.loop is None else asked.loop
    workers = 1 if asked.device_kind is None else None  # of a cluster, all until one of the kind has come
    memory = read_memory_limit(asked)
    options = SearchOptions(workers=workers, loop=loop, memory_limit_bytes=memory, **read_engine(asked))
    latency_s = _read_latency(asked)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with starting_workers(options, holds_memory=True) as starter:  # while MLflow and the workload are loaded
        from tuning.record.runs import log_measurement
        from tuning.record.store import TrackingError, check_store, resolve_tracking_uri

        file_format = _read_file_format(asked)
        check_store(resolve_tracking_uri(asked.tracking_uri))
        with silent_start():
            workload = read_workload(asked)
        found = _measure(workload, asked, options, latency_s, starter, stage)
    picture, told = found.render(file_format), json.dumps(found.to_json())
    if asked.plot is not None:
        Path(asked.plot).write_bytes(picture)
    name = found.measurement.name
    try:
        log_measurement(
            asked.tracking_uri,
            f"{workload.name}-probe",
            found.measurement,
            files={f"{name}.json": told, f"{name}.{file_format}": picture},
        )
    except TrackingError as error:  # what took a minute to measure is told all the same
        print(f"batch-size: {error}", file=sys.stderr)
    stage("")
    if asked.json:
        print(told)
    else:
        found.show(console())
    return 0 if found.has_answer else 1


def _measure(
    workload: Workload,
    asked: argparse.Namespace,
    options: SearchOptions,
    latency_s: float | None,
    starter: Starter | RayStarter | None,
    stage: Stages,
) -> Probe | InferenceProbe:
    from tuning.search.probing import probe_inference_of, probe_workload

    def tell(line: str) -> None:
        stage("")
        if not asked.quiet:
            print(f"probing {line}", file=sys.stderr)

    if asked.inference:
        return probe_inference_of(workload, options, latency_s=latency_s, tell=tell, starter=starter)
    return probe_workload(workload, options, epochs=asked.epochs, branches=asked.branch, tell=tell, starter=starter)


def _read_file_format(asked: argparse.Namespace) -> str:
    from tuning.show.canvas import FORMATS

    file_format = "png" if asked.plot is None else Path(asked.plot).suffix.lstrip(".").lower()
    if file_format not in FORMATS:
        raise ValueError(f"--plot must name a .png or .svg file; got {asked.plot!r}.")
    if asked.plot is not None:
        check_output("--plot", asked.plot)
    return file_format


def _read_latency(asked: argparse.Namespace) -> float | None:
    """Return the bound in seconds, if there is one, and refuse options that do not go together.

    Raises:
        ValueError: If the bound is no time, or an option belongs to the other kind of probe.
    """
    from tuning.machine.inference import parse_latency

    for option, value in (("--epochs", asked.epochs), ("--loop", asked.loop), ("--branch", asked.branch or None)):
        if asked.inference and value is not None:
            raise ValueError(f"{option} is about training, and --inference measures none; got {value!r}. Drop one.")
    if asked.latency is None:
        return None
    if not asked.inference:
        raise ValueError(f"--latency bounds inference; got {asked.latency!r} without --inference. Add that.")
    return parse_latency(asked.latency)
