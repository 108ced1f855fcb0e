"""SearchOptions: how a search runs, as opposed to what it tries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

LOOPS = ("auto", "keras", "device", "xla")
SAMPLERS = ("gp", "tpe", "random")


@dataclass(frozen=True)
class SearchOptions:
    """How a search runs.

    Args:
        tracking_uri: MLflow's store; None for `sqlite:///mlflow.db` in the working directory.
        storage: Optuna storage URL; None for a journal file in the study's directory.
        workers: Worker processes; None for one per visible GPU, or one on the CPU.
        threads: CPU threads of a worker; None for an equal share of the cores, but one for batch sizes that train
            faster so, where that is worth timing.
        loop: How models are trained: "auto", "keras", "device" or "xla".
        rule: How the recommendation picks: "fastest", "balanced" or "quality".
        tolerance: Loss of objective accepted for a cheaper batch size, in the objective's own units.
        target: Objective to reach; None for what the search suggests.
        timeout_s: Answer after so many seconds with what is known. Running trials are stopped, if any has a score, and
            run again when the search goes on.
        memory_limit_bytes: Resident memory that a CPU worker may use.
        probe: Whether to learn first which batch sizes fit, where the largest might not.
        accumulate: Train batches that do not fit as micro-batches whose gradients are averaged.
        prune: Whether to stop trials that are behind others of their batch size at equal examples; None for what suits
            the search.
        scale_betas: Whether the optimizer's decay constants (beta_2 and its kin) follow the batch size.
        keep_models: How many of the best models' weights to keep on disk.
        in_process: Train in this process, for debugging: no workers, no protection from crashes.
        quiet: Show no progress.

    Raises:
        ValueError: If a value is out of its range.
    """

    tracking_uri: str | None = None
    storage: str | None = None
    workers: int | None = None
    threads: int | None = None
    loop: str = "auto"
    rule: str = "fastest"
    tolerance: float | None = None
    target: float | None = None
    timeout_s: float | None = None
    memory_limit_bytes: int | None = None
    probe: bool = True
    accumulate: bool = False
    prune: bool | None = None
    scale_betas: bool = False
    keep_models: int = 5
    in_process: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.loop not in LOOPS:
            raise ValueError(f"loop must be one of {', '.join(LOOPS)}; got {self.loop!r}.")
        for name in ("workers", "threads"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ValueError(f"{name} must be at least 1; got {number}.")
        if self.in_process and self.threads is not None:
            raise ValueError(f"threads are a worker's, and in_process has none; got threads={self.threads}. Drop one.")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be positive; got {self.timeout_s}.")
        if self.accumulate and not self.probe:
            raise ValueError("accumulate needs the probe, which tells what fits; leave probe (no --no-probe) on.")
        if self.keep_models < 0:
            raise ValueError(f"keep_models must not be negative; got {self.keep_models}.")


def read_options(given: Mapping[str, Any]) -> SearchOptions:
    """Options from keyword arguments.

    Raises:
        TypeError: If one is unknown.
        ValueError: If a value is out of its range.
    """
    known = [field.name for field in fields(SearchOptions)]
    for name in given:
        if name not in known:
            raise TypeError(f"The tuner takes the options {', '.join(known)}; got {name!r}.")
    return SearchOptions(**given)
