"""Three whole searches on made-up trainings, for tests of what they leave in their records."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from fakes import RecordingTracker, ScriptedExecutor

import tuning
from search_spaces import BatchSize, Data
from tuning.messages import Throughput
from tuning.noise_messages import NoiseScalePoint, NoiseScaleRequest, NoiseScales
from tuning.search.options import SearchArguments
from tuning.trial import Trial
from tuning.tuner import BatchSizeTuner

N_TRAIN = 1000  # examples that the scripted executor reports by epoch
KINDS = ("grid", "bayes", "tune")


def made_up_data() -> Data:
    x = np.zeros((N_TRAIN, 2), dtype="float32")
    return Data(x, x[:, 0], x[:10], x[:10, 0])


def arguments() -> SearchArguments:
    return SearchArguments(made_up_data(), epochs=5, verbose=False)


def curve(request: Trial) -> list[float]:
    """Best at the rule's learning rate; a larger batch needs more epochs by the law, with B_crit 64."""
    assert request.learning_rate is not None
    off = math.log(request.learning_rate / (0.001 * math.sqrt(request.batch_size / 32)))
    luck = 1 + 0.02 * ((request.seed * 7 + request.batch_size) % 5)
    epochs = 3 * (1 + request.batch_size / 64) * math.exp(off**2 / 2) * luck
    values = [-math.expm1(-epoch / epochs) for epoch in range(1, request.budget.epochs + 1)]
    if request.budget.goal is None:
        return values
    reached = [i for i, value in enumerate(values, start=1) if value >= request.budget.goal.value]
    last = max(reached[0], request.budget.goal.least_epochs) if reached else request.budget.epochs
    return values[:last]


def probes(request: Any) -> Any:
    if isinstance(request, NoiseScaleRequest):
        return NoiseScales(request.trial_id, (NoiseScalePoint(0, 50.0, 40.0, 60.0, 1.0, 1.0),))
    return Throughput(request.trial_id, request.batch_size, request.loop, 1e-3 + 1e-5 * request.batch_size)


def workers() -> ScriptedExecutor:
    return ScriptedExecutor(curve, probes=probes)


def tuner(kind: str, directory: Path, tracker: Any | None = None) -> BatchSizeTuner:
    """A grid, a Bayesian search with pruning, or a staged search, under the name "s"."""
    common: dict[str, Any] = {
        "directory": directory,
        "project_name": "s",
        "tracker": RecordingTracker() if tracker is None else tracker,
    }
    if kind == "grid":
        return tuning.GridSearch(
            lambda: None, "val_accuracy", batch_size=BatchSize.of(16, 64, 256), seeds=2, prune=True, **common
        )
    if kind == "bayes":
        sizes = BatchSize(8, 256)
        return tuning.BayesianOptimization(
            lambda: None, "val_accuracy", batch_size=sizes, max_trials=6, seeds=2, prune=True, **common
        )
    return tuning.StagedSearch(lambda: None, "val_accuracy", **common)
