"""The workers of a search: started ahead, on this machine's devices or on a cluster, or this very process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.run.executor import (
    Executor,
    InlineExecutor,
    WorkerSetup,
    check_cores,
    device_names,
    gpus_of_this_machine,
)
from tuning.run.facts import this_process
from tuning.run.local import LocalExecutor
from tuning.run.starter import Starter
from tuning.search.options import RAY, SearchArguments, SearchOptions

if TYPE_CHECKING:
    from tuning.run.ray_cluster import Cluster, Demand
    from tuning.run.ray_starter import RayStarter


@contextmanager
def starting_workers(options: SearchOptions, *, holds_memory: bool = False) -> Iterator[Starter | RayStarter]:
    """Yield workers, here or on a cluster, that have just been started, not knowing yet what they will train.

    Args:
        options: How the search runs.
        holds_memory: As `running_executor` takes it.

    Raises:
        ValueError: If there are fewer devices than workers asked for, fewer cores than threads, or no such cluster.
    """
    if options.engine == RAY:
        with closing(_on_cluster(options, holds_memory=holds_memory)) as elsewhere:
            yield elsewhere
        return
    check_cores("threads", options.threads)
    gpus = () if options.gpus_per_trial == 0 else gpus_of_this_machine()
    starter = Starter(
        device_names(options.workers, gpus, options.gpus_per_trial or 1),
        threads=options.threads,
        memory_limit_bytes=options.memory_limit_bytes,
        holds_memory=holds_memory,
        silence_limit_s=options.silence_timeout_s,
    )
    with closing(starter):
        yield starter


@contextmanager
def running_executor(
    hypermodel: Any,
    arguments: SearchArguments,
    options: SearchOptions,
    weights_directory: Path | None = None,
    *,
    holds_memory: bool = False,
    starter: Starter | RayStarter | None = None,
) -> Iterator[Executor]:
    """Yield workers on devices of this machine or of a cluster, or this very process, as the options say.

    They end on leaving.

    Args:
        hypermodel: A build function or a `keras_tuner.HyperModel`.
        arguments: The data, the callbacks, and further arguments of `fit`.
        options: How the search runs.
        weights_directory: Where the final weights of trials that keep them are put.
        holds_memory: Whether workers are ended where they exceed the memory that they tell, also where nobody asked
            for a limit; for probing how far one can go.
        starter: Has started the workers, with the same options; None to start them now.

    Raises:
        ValueError: If there are fewer devices than workers asked for, or the cluster cannot be used.
    """
    if options.in_process:
        with closing(_this_process(hypermodel, arguments, weights_directory)) as inline:
            yield inline
        return
    setup = WorkerSetup(
        hypermodel,
        data=arguments.data,
        callbacks=arguments.callbacks,
        fit_options=dict(arguments.fit_options),
        memory_limit_bytes=options.memory_limit_bytes,
        weights_directory=weights_directory,
        holds_memory=holds_memory,
    )
    with contextlib.ExitStack() as stack:
        if starter is None:
            starter = stack.enter_context(starting_workers(options, holds_memory=holds_memory))
        if isinstance(starter, Starter):
            yield stack.enter_context(closing(LocalExecutor(setup, starter.devices, starter)))
        else:
            from tuning.run.ray_executor import RayExecutor

            yield stack.enter_context(closing(RayExecutor(setup, starter)))


def connected(options: SearchOptions) -> tuple[Cluster, Demand]:
    """Return a connection to the Ray cluster that the options name, and what a training takes of a node there.

    Raises:
        ValueError: If Ray is not installed, or there is no such cluster.
    """
    from tuning.run.ray_cluster import Cluster, Demand

    cluster = Cluster(options.ray_address)
    gpus = int(cluster.has_gpus) if options.gpus_per_trial is None else options.gpus_per_trial
    return cluster, Demand(options.cpus_per_trial or 1, gpus)


def _on_cluster(options: SearchOptions, *, holds_memory: bool) -> RayStarter:
    from tuning.run.ray_starter import RayStarter

    cluster, demand = connected(options)
    return RayStarter(
        cluster,
        demand,
        workers=options.workers,
        memory_limit_bytes=options.memory_limit_bytes,
        holds_memory=holds_memory,
        silence_limit_s=options.silence_timeout_s,
    )


def _this_process(hypermodel: Any, arguments: SearchArguments, weights_directory: Path | None) -> Executor:
    from tuning.loops.session import TrainingSession

    session = TrainingSession(
        hypermodel,
        arguments.data,
        callbacks=arguments.callbacks,
        fit_options=dict(arguments.fit_options),
        weights_directory=weights_directory,
    )
    return InlineExecutor(session, this_process())
