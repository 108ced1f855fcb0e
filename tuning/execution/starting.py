"""Start the executor that a search asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search_spaces.data import Data
from tuning.execution.data_files import write_data
from tuning.execution.devices import device_names, visible_gpus
from tuning.execution.executor import Executor, WorkerSetup
from tuning.execution.inline import InlineExecutor
from tuning.execution.local import LocalExecutor
from tuning.options import SearchOptions


def start_executor(
    hypermodel: Any,
    data: Data,
    *,
    scratch: Path,
    callbacks: Sequence[Any],
    fit_options: Mapping[str, Any],
    options: SearchOptions,
) -> Executor:
    """Workers on this machine's devices, or this very process if the options say so.

    Args:
        hypermodel: A build function or a `keras_tuner.HyperModel`.
        data: Written to `scratch` for the workers.
        scratch: An empty directory that lives as long as the executor.
        callbacks: The user's Keras callbacks.
        fit_options: Further arguments for Keras's `fit`.
        options: How the search runs.

    Raises:
        ValueError: If there are fewer devices than workers asked for.
    """
    if options.in_process:
        from tuning.training.session import TrainingSession

        return InlineExecutor(TrainingSession(hypermodel, data, callbacks=callbacks, fit_options=fit_options))
    devices = device_names(options.workers, visible_gpus())
    write_data(data, scratch / "data")
    setup = WorkerSetup(
        hypermodel,
        data_directory=scratch / "data",
        log_directory=scratch / "logs",
        callbacks=tuple(callbacks),
        fit_options=dict(fit_options),
        memory_limit_bytes=options.memory_limit_bytes,
    )
    return LocalExecutor(setup, devices)
