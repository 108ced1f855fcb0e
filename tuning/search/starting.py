"""Start the executor that a search asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tuning.run.devices import device_names, visible_gpus
from tuning.run.executor import Executor, InlineExecutor, WorkerSetup
from tuning.run.facts import this_process
from tuning.run.local import LocalExecutor
from tuning.search.options import SearchArguments, SearchOptions


@contextmanager
def running_executor(
    hypermodel: Any,
    arguments: SearchArguments,
    options: SearchOptions,
    weights_directory: Path | None = None,
    *,
    holds_memory: bool = False,
) -> Iterator[Executor]:
    """Yield workers on this machine's devices, or this very process if the options say so; they end on leaving.

    Args:
        hypermodel: A build function or a `keras_tuner.HyperModel`.
        arguments: The data, the callbacks, and further arguments of `fit`.
        options: How the search runs.
        weights_directory: Where the final weights of trials that keep them are put.
        holds_memory: Whether workers are ended where they exceed the memory that they tell, also where nobody asked
            for a limit; for probing how far one can go.

    Raises:
        ValueError: If there are fewer devices than workers asked for.
    """
    setup = WorkerSetup(
        hypermodel,
        data=arguments.data,
        callbacks=arguments.callbacks,
        fit_options=dict(arguments.fit_options),
        memory_limit_bytes=options.memory_limit_bytes,
        threads=options.threads,
        weights_directory=weights_directory,
        holds_memory=holds_memory,
    )
    with closing(_start(setup, options)) as executor:
        yield executor


def _start(setup: WorkerSetup, options: SearchOptions) -> Executor:
    if not options.in_process:
        return LocalExecutor(setup, device_names(options.workers, visible_gpus()))
    from tuning.loops.session import TrainingSession

    session = TrainingSession(
        setup.hypermodel,
        setup.data,
        callbacks=setup.callbacks,
        fit_options=setup.fit_options,
        weights_directory=setup.weights_directory,
    )
    return InlineExecutor(session, this_process())
