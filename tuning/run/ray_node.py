"""What an actor does on its node: keeps a `LocalExecutor` of one device at work, and tells the driver what happens."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuning.messages import Event
from tuning.run.executor import THREAD_VARIABLES, Device, DeviceError, device_names, gpus_of_this_machine, rehearses
from tuning.run.local import LocalExecutor
from tuning.run.node_data import node_data
from tuning.run.starter import Starter, import_path
from tuning.run.wire import Brief, Refusal, write_data
from tuning.trial import EpochReport, TrialOutcome

BEGIN, SUBMIT, STOP, RENEW, CLOSE = "begin", "submit", "stop", "renew", "close"
"""The first of a command: `(BEGIN, payload, key, data)`, `(SUBMIT, number, request)`, `(STOP, trial_id)`, `(RENEW,)`,
`(CLOSE,)`.

The payload of the first command is what `pickle_setup` returns; the key names the data among those of other studies;
the data are the reference to their `Parts`, in a list, since Ray would fetch a bare one for every actor.
"""

_POLL_S = 0.1

Commands = queue.SimpleQueue[tuple[Any, ...]]


@dataclass(frozen=True)
class Share:
    """What a device of a node needs to know before it knows what to train.

    Args:
        cpus: The CPUs that Ray counts for it, which are the threads of its training.
        gpus: The GPUs that share its training, which Ray has chosen; 0 for the CPU.
        sharing: How many devices there may be on a node of the cluster.
        memory_limit_bytes: As in `WorkerSetup`.
        holds_memory: Likewise.
        silence_limit_s: Likewise.
    """

    cpus: int
    gpus: int
    sharing: int
    memory_limit_bytes: int | None
    holds_memory: bool
    silence_limit_s: float


@dataclass(frozen=True)
class Happened:
    """An event of a request.

    Args:
        number: The number with which the request was submitted: what was dropped may still be told of.
        event: What happened.
        weights: The final weights of a trial that keeps them, by the names of their files.
    """

    number: int
    event: Event
    weights: Mapping[str, bytes]


@dataclass(frozen=True)
class Parts:
    """The arrays of training data as they travel, by part."""

    content: Mapping[str, Any]

    def parts(self) -> Mapping[str, Any]:
        """Return them."""
        return self.content


def serve(told_share: bytes, commands: Commands) -> Iterator[Device | Refusal | list[Happened]]:
    """Yield the device of this actor, or why there is none, and then what happens there, until it is closed.

    Its worker starts at once, and loads TensorFlow while the driver finds out what is to be trained.

    Args:
        told_share: A pickled `Share`.
        commands: What the driver asks for; first of all to begin, or to close.
    """
    import ray

    share: Share = pickle.loads(told_share)
    # Ray has counted CPUs for this actor, and set one of these variables, perhaps to 1: the children inherit them.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(share.cpus)))
    gpus = gpus_of_this_machine() if share.gpus else ()
    if share.gpus and not gpus and not rehearses():
        yield Refusal("The CUDA driver tells of no GPU there, though Ray counts one.", lacks_gpu=True)
        return
    try:
        names = device_names(1, gpus, share.gpus or 1)
    except ValueError as error:  # such as of unlike cards
        yield Refusal(str(error))
        return
    with contextlib.ExitStack() as stack:
        starter = stack.enter_context(closing(_started(share, names)))
        if (command := commands.get()) == (CLOSE,):
            return
        _, payload, key, data = command
        directory = stack.enter_context(node_data(key, lambda directory: write_data(ray.get(data[0]), directory)))
        weights = starter.directory / "weights"
        brief = Brief(import_path(), payload, directory, weights)
        executor = stack.enter_context(closing(LocalExecutor(brief, names, starter)))
        yield from _Attendant(executor, share.cpus, weights, commands).attend()


def _started(share: Share, names: tuple[str, ...]) -> Starter:
    """Return the worker of a device, which has just been started."""
    return Starter(
        names,
        threads=share.cpus,
        memory_limit_bytes=share.memory_limit_bytes,
        holds_memory=share.holds_memory,
        silence_limit_s=share.silence_limit_s,
        sharing=share.sharing,
    )


class _Attendant:
    """Does what a driver asks for on one device.

    Args:
        executor: Of that device.
        cpus: The CPUs that Ray counts for it.
        weights: Where its worker puts final weights.
        commands: What the driver asks for.
    """

    def __init__(self, executor: LocalExecutor, cpus: int, weights: Path, commands: Commands) -> None:
        self._executor, self._cpus, self._weights, self._commands = executor, cpus, weights, commands
        self._device = ""
        self._number = 0
        self._is_idle = True

    def attend(self) -> Iterator[Device | Refusal | list[Happened]]:
        """Yield the device, and then what happens, until the command to close."""
        try:
            while not (devices := self._executor.devices()):
                self._executor.events(_POLL_S)
        except DeviceError as error:
            yield Refusal(str(error))
            return
        self._device = devices[0].name
        yield replace(devices[0], cores=self._cpus, threads=self._cpus)
        while (command := self._next_command()) != (CLOSE,):
            if command is not None:
                self._obey(*command)
            elif found := self._executor.events(_POLL_S):
                yield [self._told(event) for event in found]

    def _next_command(self) -> tuple[Any, ...] | None:
        """Return what the driver wants; None if it wants nothing while something runs."""
        if self._is_idle:
            return self._commands.get()
        with contextlib.suppress(queue.Empty):
            return self._commands.get_nowait()
        return None

    def _obey(self, kind: str, *rest: Any) -> None:
        if kind == SUBMIT:
            self._number, request = rest
            self._executor.submit(request, self._device)
            self._is_idle = False
        elif kind == STOP:
            self._executor.stop(*rest)
        elif kind == RENEW:
            self._executor.renew(self._device)
            self._is_idle = True

    def _told(self, event: Event) -> Happened:
        self._is_idle = not isinstance(event, EpochReport)
        weights = self._taken() if isinstance(event, TrialOutcome) else {}
        return Happened(self._number, event, weights)

    def _taken(self) -> dict[str, bytes]:
        """Return the weights that have been written, and keep them no longer."""
        found = {path.name: path.read_bytes() for path in self._weights.glob("*")}
        for name in found:
            (self._weights / name).unlink()
        return found
