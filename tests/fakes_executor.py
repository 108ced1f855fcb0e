"""Executors without processes: one that is another machine, where what is true here is false, and this very process."""

from __future__ import annotations

import pickle
from pathlib import Path

from fakes import device

from tuning.loops.session import TrainingSession
from tuning.messages import Event, Request
from tuning.run.executor import Device, InlineExecutor, WorkerSetup
from tuning.run.facts import this_process
from tuning.run.memory_limit import MemoryLimit
from tuning.run.wire import pickle_setup, read_data, write_data
from tuning.trial import Trial

OTHER_MACHINE = device(
    "cpu:0", kind="Elsewhere 1", node="far", cores=64, threads=48, memory=MemoryLimit(512 * 2**30, "available memory")
)


def in_this_process(setup: WorkerSetup, *_: object) -> InlineExecutor:
    """What stands for `LocalExecutor`, whose workers take seconds to start; the setup travels as it would to one."""
    hypermodel, callbacks, fit_options, _, _ = pickle.loads(pickle_setup(setup))
    session = TrainingSession(
        hypermodel, setup.data, callbacks=callbacks, fit_options=fit_options, weights_directory=setup.weights_directory
    )
    return InlineExecutor(session, this_process())


class OtherMachineExecutor:
    """Trains in this process, but as another machine would: with its own files under its own root, its own facts.

    It moves data, code and weights by itself, as any engine must: the arrays and the pickled model go to the root, and
    weights come back to the setup's directory when their trial has ended.

    Args:
        setup: What its worker needs.
        root: The root directory of the other machine.
    """

    def __init__(self, setup: WorkerSetup, root: Path) -> None:
        write_data(setup.data, root / "data")
        hypermodel, callbacks, fit_options, loads, _ = pickle.loads(pickle_setup(setup))
        self._weights, self._home = root / "weights", setup.weights_directory
        self._weights.mkdir()
        session = TrainingSession(
            hypermodel,
            read_data(root / "data", loads),
            callbacks=callbacks,
            fit_options=fit_options,
            weights_directory=self._weights,
        )
        self._inner = InlineExecutor(session, OTHER_MACHINE)

    def devices(self) -> tuple[Device, ...]:
        return self._inner.devices()

    def submit(self, request: Trial | Request, device: str) -> None:
        self._inner.submit(request, device)

    def events(self, timeout_s: float) -> list[Event]:
        found = self._inner.events(timeout_s)
        for path in self._weights.iterdir():
            if self._home is not None:
                self._home.mkdir(parents=True, exist_ok=True)
                (self._home / path.name).write_bytes(path.read_bytes())
            path.unlink()
        return found

    def stop(self, trial_id: str) -> None:
        self._inner.stop(trial_id)

    def renew(self, device: str) -> None:
        self._inner.renew(device)

    def close(self) -> None:
        self._inner.close()
