"""Processors that are no GPU and behave like one: by what a loop does on them, or by a clock of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tuning.loops.processor import Cpu


class GpuOnTheCpu(Cpu):
    """The CPU, which loops treat as a GPU: arrays lie there in words, and blocks are traced as for a card."""

    is_gpu = True


class FakeTime:
    """A time in which everything is done when its call returns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now

    def pass_by(self, seconds: float) -> Any:
        """Let time go by, and return logs."""
        self.now += seconds
        return {"loss": 0.0}


class AsynchronousDevice:
    """A device whose work goes on after the call that began it has returned; all in a time of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.busy_seconds = 0.0
        self._free_at = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now

    def begin(self, seconds: float, *, launch: float = 0.0) -> Any:
        """Give it work, which takes `launch` seconds of the host, and return logs."""
        self.now += launch
        self._free_at = max(self._free_at, self.now) + seconds
        return {"loss": 0.0}

    def train(self, seconds: float, *, launch: float) -> Callable[[], Any]:
        """Return an execution of a train function, whose work is what a clock should tell."""

        def execution() -> Any:
            self.busy_seconds += seconds
            return self.begin(seconds, launch=launch)

        return execution

    def wait(self) -> None:
        """Wait until it has done all."""
        self.now = max(self.now, self._free_at)

    def pass_by(self, seconds: float) -> None:
        """Let the host do something else."""
        self.now += seconds
