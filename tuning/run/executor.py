"""Executor: the face behind which trials run on devices, small enough for another engine; and one without processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from search_spaces.stream import TrainingData
from tuning.messages import DescribeRequest, Event, Request
from tuning.run.cuda_driver import Gpu, ask_driver
from tuning.run.memory_limit import MemoryLimit
from tuning.run.pulse import SILENCE_LIMIT_S
from tuning.trial import EpochReport, Trial

THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
"""The variables that set the CPU threads of NumPy and TensorFlow; each is read once, when they are imported."""


REHEARSAL = "BATCH_SIZE_REHEARSAL"
"""The variable that, set to 1, lets parts of the CPU stand in for cards that one training would share: see
docs/gpu.md."""


def rehearses() -> bool:
    """Return whether parts of the CPU stand in for cards."""
    return os.environ.get(REHEARSAL) == "1"


def device_names(workers: int | None, gpus: Sequence[Gpu], cards: int = 1) -> tuple[str, ...]:
    """Return the names of this machine's devices: one for each GPU of one model, or shares of the CPU without any.

    Where one training takes several cards, a device is a group of them, and its name has those of all: see `cards_of`.

    Seconds of unlike cards cannot be compared, so that a search uses one model: the one of which there are most, of as
    many the one with most memory. The others are told of, and left alone.

    Args:
        workers: How many to use; None for every GPU, or one CPU worker, whose timings no neighbour disturbs.
        gpus: The GPUs that may be used.
        cards: How many of them share a training.

    Raises:
        ValueError: If there are fewer GPUs, or without any fewer cores, than workers need.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}.")
    if not gpus:
        check_cores("workers", workers)
        if cards > 1 and not rehearses():
            raise ValueError(f"gpus_per_trial must not exceed the visible GPUs, of which there are none; got {cards}.")
        return _in_groups("cpu", [str(number) for number in range((workers or 1) * cards)], cards)
    alike = _most_alike(gpus)
    _check_groups(workers, alike, cards)
    if others := sorted({gpu.name for gpu in gpus} - {alike[0].name}):
        logging.getLogger(__name__).warning(
            f"The search uses {alike[0].name} alone, since seconds of unlike GPUs cannot be compared; "
            f"for {', '.join(others)} set CUDA_VISIBLE_DEVICES."
        )
    return _in_groups("gpu", [gpu.uuid for gpu in alike], cards)[:workers]


def cards_of(device: str) -> int:
    """Return how many cards a device's name tells, which share a training.

    >>> cards_of("gpu:GPU-5a3e"), cards_of("gpu:GPU-5a3e,GPU-77b0")
    (1, 2)
    """
    return device.partition(":")[2].count(",") + 1


def _in_groups(kind: str, names: Sequence[str], cards: int) -> tuple[str, ...]:
    whole = range(0, len(names) - cards + 1, cards)
    return tuple(f"{kind}:{','.join(names[first : first + cards])}" for first in whole)


def _check_groups(workers: int | None, alike: Sequence[Gpu], cards: int) -> None:
    """Refuse more cards than there are of one model, and slices of cards, of which a process has one."""
    if workers is not None and workers * cards > len(alike):
        each = "one each" if cards == 1 else f"{cards} each"
        rule = f"workers must not exceed the {len(alike)} visible GPUs of one model, {each}; got {workers}."
        raise ValueError(f"{rule} Lower it, or hide the GPUs with CUDA_VISIBLE_DEVICES=-1 to use the CPU.")
    if cards > len(alike):
        raise ValueError(
            f"gpus_per_trial must not exceed the {len(alike)} visible GPUs of one model; got {cards}. Lower it."
        )
    if cards > 1 and alike[0].uuid.startswith("MIG-"):
        raise ValueError(f"A process can use one slice of a card (MIG); got gpus_per_trial={cards}. Give 1.")
    if unused := len(alike) % cards:
        logging.getLogger(__name__).warning(f"{unused} of {len(alike)} GPUs stay idle: a training takes {cards}.")


def _most_alike(gpus: Sequence[Gpu]) -> list[Gpu]:
    models: dict[str, list[Gpu]] = {}
    for gpu in gpus:
        models.setdefault(gpu.name, []).append(gpu)
    return max(models.values(), key=lambda alike: (len(alike), alike[0].total_bytes))


def gpus_of_this_machine() -> tuple[Gpu, ...]:
    """Return the GPUs that workers may be given; none, with a warning, where the CUDA driver is out of order."""
    answer = ask_driver()
    if answer.problem:
        logging.getLogger(__name__).warning(
            f"The CUDA driver cannot be used, {answer.problem}; the CPU trains. "
            "Mend it, or set CUDA_VISIBLE_DEVICES=-1 if that is meant."
        )
    return answer.gpus


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use, which containers and schedulers restrict."""
    if hasattr(os, "sched_getaffinity"):  # Linux has it, macOS and Windows have not
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_cores(name: str, number: int | None) -> None:
    """Raise ValueError if there are fewer cores than workers or threads asked for."""
    if number is not None and number > usable_cores():
        raise ValueError(
            f"{name} must not exceed the {usable_cores()} CPU cores that may be used; got {number}. Lower it: what "
            "shares a core cannot be timed."
        )


def share_of_threads(n_devices: int) -> int:
    """Return the CPU threads of each of so many workers on this machine's CPU: an equal share of the usable cores."""
    return max(1, usable_cores() // n_devices)


def worker_environment(device: str, threads: int, programs: Path | None = None) -> dict[str, str]:
    """Return the variables that place a worker on its device; they must be set before TensorFlow is imported.

    Args:
        device: A device's name, from `device_names`.
        threads: The CPU threads of a worker on the CPU; those of one on a GPU are left to TensorFlow.
        programs: The folder in which workers on the CPU leave what XLA has compiled for others of as many threads;
            None for none.
    """
    kind, _, name = device.partition(":")
    if kind != "gpu":
        placed = {"CUDA_VISIBLE_DEVICES": "-1", **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        return placed if programs is None else placed | _sharing(programs / str(threads))
    return {"CUDA_VISIBLE_DEVICES": name, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def _sharing(programs: Path) -> dict[str, str]:
    """Return the variable by which XLA keeps compiled programs in a folder, unless the user has named one."""
    own = os.environ.get("TF_XLA_FLAGS", "")
    option = "--tf_xla_persistent_cache_directory"
    return {} if option in own else {"TF_XLA_FLAGS": f"{own} {option}={programs}".strip()}


class DeviceError(RuntimeError):
    """No device of an executor can work; the message is one line that says why."""


class MissingGpuError(DeviceError):
    """TensorFlow does not see a GPU that the machine has; what is installed has to be put right first."""


@dataclass(frozen=True)
class Device:
    """Where one trial at a time trains, as the worker that sits there tells it.

    Args:
        name: The device's name, unique in its executor, such as "cpu:0" or "gpu:GPU-5a3e...".
        kind: The processor's or card's model, within which timings and memory can be compared; such as "2 x NVIDIA L4"
            where cards share a training.
        node: The host's name.
        is_gpu: Whether trainings run on a GPU.
        cores: The CPU cores that its workers may use.
        threads: The CPU threads of its workers, if a request does not ask for others.
        memory: The memory that a training there may use, of several cards that of the smallest; workers that share a
            node's CPU share its memory.
        uuid: The card's own name, as the CUDA driver tells it, or several with commas; empty for a CPU.
        facts: What else decides about speed or results there, by name: the compute capability, versions of driver, CUDA
            and cuDNN.
        cards: How many cards share each training there, and every batch of it.
    """

    name: str
    kind: str
    node: str
    is_gpu: bool
    cores: int
    threads: int
    memory: MemoryLimit
    uuid: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    cards: int = 1


@dataclass(frozen=True)
class WorkerSetup:
    """What every worker of a study needs once. The engine that runs them moves it to where they are.

    Args:
        hypermodel: A build function or a `keras_tuner.HyperModel`; it travels by value.
        data: What every trial trains and validates on.
        callbacks: The user's Keras callbacks, copied for every trial.
        fit_options: Further arguments for Keras's `fit`.
        memory_limit_bytes: The memory that a worker may use, None for no limit of its own.
        threads: The CPU threads of a worker on the CPU, None for an equal share of the cores.
        weights_directory: Where the final weights of trials that keep them are put; None if none are kept.
        holds_memory: Whether a worker on the CPU is ended where it exceeds the memory that it told, also where no limit
            was asked for; a probe finds the end of memory in this known way.
        silence_limit_s: A worker that shows no sign of life for so long, or for ten times the median time of an epoch
            if that is longer, is replaced, and what it was asked has failed.
    """

    hypermodel: Any
    data: TrainingData
    callbacks: Sequence[Any] = ()
    fit_options: Mapping[str, Any] = field(default_factory=dict)
    memory_limit_bytes: int | None = None
    threads: int | None = None
    weights_directory: Path | None = None
    holds_memory: bool = False
    silence_limit_s: float = SILENCE_LIMIT_S


class Executor(Protocol):
    """Runs requests on devices, one at a time on each, and reports what happens."""

    def devices(self) -> tuple[Device, ...]:
        """Return the devices that can work now, as their workers told of them.

        There may be more or fewer at each call, and none while the first worker starts. A device that was told once
        keeps its facts. What changes here ends the waiting of `events`.

        Raises:
            DeviceError: If no device can work, nor ever will.
        """

    def submit(self, request: Trial | Request, device: str) -> None:
        """Start a request on an idle device; trainings and timings on a CPU with the threads that they ask for.

        Raises:
            ValueError: If the device is busy or unknown.
        """

    def events(self, timeout_s: float) -> list[Event]:
        """Return what has happened since the last call, in order; wait up to `timeout_s` for the first event.

        Every submitted request ends in exactly one `TrialOutcome` or `Answer`, after which its device is idle again,
        unless `renew` or `close` drops it. A worker that dies is its request's outcome, nothing more; one that was
        killed from outside, or whose node went away, has status LOST.
        """

    def stop(self, trial_id: str) -> None:
        """Ask a running trial to stop at its next epoch; its outcome says PRUNED. Unknown trials are ignored."""

    def renew(self, device: str) -> None:
        """End a device's worker, whatever it does, and start a fresh one.

        A request that runs there is dropped without an outcome. A fresh worker's memory holds nothing of earlier
        trainings, which measurements of memory need; and a worker that hangs has no other end.

        Raises:
            ValueError: If the device is unknown.
        """

    def close(self) -> None:
        """End every worker and remove what was moved to them. Requests that run are dropped without an outcome."""


@runtime_checkable
class Divisible(Protocol):
    """An executor whose one CPU can be shared out to trainings that run beside one another."""

    def divide(self, parts: int) -> None:
        """Have so many devices from now on, each with one CPU thread where a request does not ask for more.

        The first device keeps its workers, so that with all others idle it measures as before.

        Raises:
            ValueError: If there are several devices already, or fewer cores than parts.
        """


class InlineExecutor:
    """Runs a request in this very process when its events are asked for, on one device.

    Args:
        session: A `TrainingSession`.
        device: The device, such as `tuning.run.facts.this_process()` tells.
    """

    def __init__(self, session: Any, device: Device) -> None:
        self._session = session
        self._device = device
        self._waiting: Trial | Request | None = None
        self._stopped: set[str] = set()
        self._is_closed = False

    def devices(self) -> tuple[Device, ...]:
        """Return the one device."""
        return () if self._is_closed else (self._device,)

    def submit(self, request: Trial | Request, device: str) -> None:
        """Keep a request until its events are asked for."""
        self._check(device)
        if self._waiting is not None:
            raise ValueError(f"{device} must be idle; it runs {self._waiting.trial_id}. Wait for its outcome.")
        self._waiting = request

    def events(self, timeout_s: float) -> list[Event]:  # noqa: ARG002  (nothing to wait for)
        """Run the request that waits, if any, and return all its events."""
        request, self._waiting = self._waiting, None
        if request is None:
            return []
        if isinstance(request, DescribeRequest):
            return [self._session.describe(request)]
        if not isinstance(request, Trial):
            return [self._session.probe(request)]
        events: list[Event] = []

        def report(epoch: EpochReport) -> bool:
            events.append(epoch)
            return epoch.trial_id not in self._stopped

        events.append(self._session.train(request, report))
        return events

    def stop(self, trial_id: str) -> None:
        """Have a trial that waits end after its first epoch."""
        self._stopped.add(trial_id)

    def renew(self, device: str) -> None:
        """Drop the request that waits; this process cannot be replaced."""
        self._check(device)
        self._waiting = None

    def close(self) -> None:
        """Drop the request that waits, and take no more."""
        self._waiting = None
        self._is_closed = True

    def _check(self, device: str) -> None:
        if device not in {known.name for known in self.devices()}:
            usable = "none (closed)" if self._is_closed else self._device.name
            raise ValueError(f"The device must be one of {usable}; got {device!r}.")
