"""Start the executor that a search asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tuning.run.devices import device_names, visible_gpus
from tuning.run.executor import Executor, InlineExecutor, WorkerSetup
from tuning.run.local import LocalExecutor
from tuning.search.options import SearchArguments, SearchOptions
from tuning.worker import write_data


@contextmanager
def running_executor(hypermodel: Any, arguments: SearchArguments, options: SearchOptions) -> Iterator[Executor]:
    """Workers on this machine's devices, or this very process if the options say so; ended on leaving.

    Args:
        hypermodel: A build function or a `keras_tuner.HyperModel`.
        arguments: The data, written to files that the workers map, the callbacks, and further arguments of `fit`.
        options: How the search runs.

    Raises:
        ValueError: If there are fewer devices than workers asked for.
    """
    with tempfile.TemporaryDirectory(prefix="batch-size-") as scratch:
        executor = _start(hypermodel, arguments, options, Path(scratch))
        try:
            yield executor
        finally:
            executor.shutdown()


def _start(hypermodel: Any, arguments: SearchArguments, options: SearchOptions, scratch: Path) -> Executor:
    callbacks, fit_options = arguments.callbacks, dict(arguments.fit_options)
    if options.in_process:
        from tuning.loops.session import TrainingSession

        return InlineExecutor(TrainingSession(hypermodel, arguments.data, callbacks=callbacks, fit_options=fit_options))
    devices = device_names(options.workers, visible_gpus())
    write_data(arguments.data, scratch / "data")
    setup = WorkerSetup(
        hypermodel,
        data_directory=scratch / "data",
        log_directory=scratch / "logs",
        callbacks=callbacks,
        fit_options=fit_options,
        memory_limit_bytes=options.memory_limit_bytes,
        threads=options.threads,
    )
    return LocalExecutor(setup, devices)
