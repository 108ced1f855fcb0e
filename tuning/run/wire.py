"""What passes between a driver and its worker process, apart from requests and events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STOP = "stop"
"""The first half of `(STOP, trial_id)`, which asks a worker to stop a trial at its next epoch."""


@dataclass(frozen=True)
class Hello:
    """The first message to a worker, which answers with its `Device` or a `Refusal`.

    Args:
        device: The name of the device on which the worker sits.
        import_path: The driver's `sys.path`, so that the user's modules are found.
        payload: The pickled `(hypermodel, callbacks, fit_options)`, opened only when TensorFlow is configured.
        data_directory: Where the arrays are.
        weights_directory: Where the final weights of trials go, None if none are kept.
        memory_limit_bytes: The user's limit for this worker, None for none.
        sharing: The number of workers that share this one's CPU.
        holds_memory: Whether the worker is ended where it exceeds the memory that it told, also without a user's limit.
    """

    device: str
    import_path: list[str]
    payload: bytes
    data_directory: Path
    weights_directory: Path | None
    memory_limit_bytes: int | None
    sharing: int
    holds_memory: bool = False


@dataclass(frozen=True)
class Refusal:
    """The answer of a worker that cannot work on its device.

    Args:
        reason: Why, in one line for people.
    """

    reason: str
