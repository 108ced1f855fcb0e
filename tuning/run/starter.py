"""Starter: starts worker processes, before it is known what they are to train: TensorFlow takes seconds to import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from tuning.run.executor import share_of_threads
from tuning.run.process import WorkerProcess
from tuning.run.pulse import SILENCE_LIMIT_S, Guard
from tuning.run.scratch import Scratch
from tuning.run.wire import Hello


class Place(NamedTuple):
    """Where a worker runs: TensorFlow's threads are fixed when it starts, so that other threads are another process."""

    device: str
    threads: int


class Starter:
    """Starts a worker on each device at once, and further ones when they are taken, or ahead of that.

    Linux ends a worker together with the thread that started it, so the thread that calls must live as long as they.

    Args:
        devices: The devices' names, from `device_names`.
        threads: The CPU threads of a worker on the CPU; None for an equal share of the cores.
        memory_limit_bytes: The memory that a worker may use; None for no limit of its own.
        holds_memory: Whether a worker is ended where it exceeds the memory that it told; see `WorkerSetup`.
        silence_limit_s: A worker that shows no sign of life for so long hangs.
        sharing: The number of workers that share this machine's CPU and memory; None where these are all.
    """

    def __init__(
        self,
        devices: tuple[str, ...],
        *,
        threads: int | None = None,
        memory_limit_bytes: int | None = None,
        holds_memory: bool = False,
        silence_limit_s: float = SILENCE_LIMIT_S,
        sharing: int | None = None,
    ) -> None:
        self.devices = devices
        self._threads = dict.fromkeys(devices, threads or share_of_threads(len(devices)))
        self._sharing = sharing or max(1, sum(name.startswith("cpu") for name in devices))
        self._memory_limit_bytes, self._holds_memory = memory_limit_bytes, holds_memory
        self._silence_limit_s = silence_limit_s
        self._scratch = Scratch()
        self._guard = Guard()
        self._is_closed = False
        self._ahead: dict[Place, WorkerProcess] = {}
        for device in devices:
            self.start_ahead(self.place(device))

    @property
    def may_start_ahead(self) -> bool:
        """Whether a worker started ahead of a probe of memory is held to the same limit as one started then.

        Without a limit that was asked for it is held to the memory that is free when it starts.
        """
        return self._holds_memory and self._memory_limit_bytes is not None

    @property
    def directory(self) -> Path:
        """The temporary folder of the workers, until `close`."""
        return self._scratch.path

    def place(self, device: str, threads: int | None = None) -> Place:
        """Return where requests of a device run that ask for so many CPU threads; None for those of the setup."""
        is_cpu = device.startswith("cpu")
        return Place(device, threads if threads is not None and is_cpu else self._threads[device])

    def add(self, devices: tuple[str, ...], threads: int) -> None:
        """Start workers on further shares of the CPU; what is started from now on shares its memory with them."""
        self.devices += devices
        self._threads.update(dict.fromkeys(devices, threads))
        self._sharing += len(devices)
        for device in devices:
            self.start_ahead(self.place(device))

    def start_ahead(self, place: Place) -> None:
        """Start a worker that will be taken, unless one waits there already."""
        if place not in self._ahead:
            self._ahead[place] = self._start(place)

    def drop_ahead(self) -> None:
        """End the workers that nobody has taken, such as before something is timed that they would disturb."""
        for worker in self._ahead.values():
            self.end(worker)
        self._ahead.clear()

    def take(self, place: Place) -> WorkerProcess:
        """Return a worker that has been told nothing but where it sits."""
        return self._ahead.pop(place, None) or self._start(place)

    def end(self, worker: WorkerProcess) -> None:
        """End a worker that was taken, whatever it does."""
        worker.dismiss()
        worker.wait()
        self._guard.forget(worker.process_id)

    def close(self) -> None:
        """End the workers that nobody has taken, and remove the folder; a second time does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self.drop_ahead()
        self._guard.close()
        self._scratch.close()

    def _start(self, place: Place) -> WorkerProcess:
        hello = Hello(
            place.device,
            import_path=import_path(),
            memory_limit_bytes=self._memory_limit_bytes,
            sharing=self._sharing,
            holds_memory=self._holds_memory,
        )
        worker = WorkerProcess(hello, place.threads, self._silence_limit_s, self._scratch.path / "programs")
        self._guard.watch(worker.process_id)
        return worker


def import_path() -> list[str]:
    """Return where this process finds modules, for its workers."""
    return [entry or str(Path.cwd()) for entry in sys.path]
