"""Bench: the product's own executor on one device, with the models and data that the checks train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.data import Data
from search_spaces.space import Setting
from tuning.instructions import Budget, Instructions
from tuning.messages import Request, Throughput, ThroughputRequest
from tuning.run.asking import ask, first_device
from tuning.run.executor import WorkerSetup, worker_environment
from tuning.run.local import LocalExecutor
from tuning.trial import EpochReport, Trial, TrialOutcome

_PATIENCE_S = 300.0


@dataclass(frozen=True)
class Trained:
    """A training on the bench.

    Args:
        outcome: How it ended.
        reports: What its epochs told.
        process_id: The worker's.
    """

    outcome: TrialOutcome
    reports: tuple[EpochReport, ...]
    process_id: int | None


@dataclass(frozen=True)
class Bench:
    """Where checks are carried out.

    Args:
        device: The device's name, as an executor takes it.
        folder: For files that a check writes.
        environment: Variables of child processes that are no workers.
    """

    device: str
    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU; tests have the checks run on a CPU."""
        return self.device.startswith("gpu")

    @contextmanager
    def executor(self, build: Any, data: Data, callbacks: Sequence[Any] = (), **setup: Any) -> Iterator[LocalExecutor]:
        """Yield the product's executor on the device; its worker ends on leaving."""
        whole = WorkerSetup(build, data, callbacks=callbacks, **setup)
        with closing(LocalExecutor(whole, (self.device,))) as executor:
            yield executor

    def train(
        self,
        executor: LocalExecutor,
        batch_size: int,
        *,
        epochs: int = 2,
        seed: int = 0,
        at_epochs: list[float] | None = None,
        **instructions: Any,
    ) -> Trained:
        """Train one trial to its end; the moments at which its epochs ended are added to `at_epochs`."""
        trial_id = f"{batch_size}-{seed}-{instructions.get('loop', 'auto')}"
        trial = Trial(
            Setting(batch_size, None),
            seed,
            budget=Budget(epochs),
            trial_id=trial_id,
            instructions=Instructions(**instructions),
        )
        first_device(executor)
        executor.submit(trial, self.device)
        process_id, reports = executor.process_id(self.device), []
        while True:
            for event in executor.events(1.0):
                if isinstance(event, EpochReport):
                    reports.append(event)
                    if at_epochs is not None:
                        at_epochs.append(time.monotonic())
                elif isinstance(event, TrialOutcome) and event.trial_id == trial_id:
                    return Trained(event, tuple(reports), process_id)

    def answer(self, executor: LocalExecutor, request: Request) -> Any:
        """Return the answer to a request.

        Raises:
            RuntimeError: If there is none, with the reason.
        """
        answer = ask(executor, request, patience_s=_PATIENCE_S)
        if isinstance(answer, TrialOutcome):
            raise RuntimeError(f"{request.trial_id} ended {answer.status}: {answer.reason}")
        return answer

    def seconds_per_update(self, executor: LocalExecutor, batch_size: int, loop: str, **wishes: Any) -> Throughput:
        """Time a loop at a batch size."""
        request = ThroughputRequest(f"time-{loop}-{batch_size}", batch_size, loop=loop, **wishes)
        answer = self.answer(executor, request)
        assert isinstance(answer, Throughput)
        return answer

    def child(self, task: str, *arguments: str, **variables: str) -> Any:
        """Run a task of `tuning.gpu_check.child` in a process of its own on the device, and return what it tells."""
        command = [sys.executable, "-m", "tuning.gpu_check.child", task, *arguments]
        environment = {**self.environment, **worker_environment(self.device, 1), **variables}
        told = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
        if told.returncode:
            raise RuntimeError(f"{task} ended with exit code {told.returncode}: {told.stderr[-300:]}")
        return json.loads(told.stdout.splitlines()[-1])

    @contextmanager
    def beside(self, task: str, *arguments: str) -> Iterator[None]:
        """Run a task of `tuning.gpu_check.child` beside what is done meanwhile, from its first line on, and end it.

        Raises:
            RuntimeError: If it ends before it has begun.
        """
        command = [sys.executable, "-m", "tuning.gpu_check.child", task, *arguments]
        environment = {**self.environment, **worker_environment(self.device, 1)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                if not (process.stdout and process.stdout.readline()):
                    raise RuntimeError(f"{task} has not begun")
                yield
            finally:
                process.kill()


def images(count: int = 4096, side: int = 32, *, dtype: str = "float32") -> Data:
    """Return random images of ten classes, a quarter as many for validation."""
    generator = np.random.default_rng(0)
    total = count + count // 4
    x = generator.integers(0, 2 if dtype == "bool" else 100, (total, side, side, 3)).astype(dtype)
    y = generator.integers(0, 10, total)
    return Data(x[:count], y[:count], x[count:], y[count:])


def vectors(count: int = 8192, features: int = 64) -> Data:
    """Return ten Gaussian classes that a small model can learn."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 10, count + count // 4)
    x = (generator.normal(size=(10, features))[y] + generator.normal(size=(len(y), features))).astype("float32")
    return Data(x[:count], y[:count], x[count:], y[count:])


def sequences(count: int = 4096, length: int = 32, features: int = 16) -> Data:
    """Return random sequences of ten classes."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count + count // 4, length, features)).astype("float32")
    y = generator.integers(0, 10, len(x))
    return Data(x[:count], y[:count], x[count:], y[count:])
