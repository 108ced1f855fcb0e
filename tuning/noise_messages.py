"""What a worker is asked of the gradient's noise along a training, and of branches of one, with the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuning.trial import HyperparameterValue


@dataclass(frozen=True)
class NoiseScaleRequest:
    """Ask a worker for the gradient noise scale by training progress. Answered by a `NoiseScales`, or by a
    `TrialOutcome` that says why there is none.

    Args:
        trial_id: Names the request.
        batch_size: The batch size of the training along which it is measured.
        updates: Of that training, at least 1.
        fractions: Of that training, ascending from 0 to 1, at which the weights are frozen and measured.
        examples: n, drawn without replacement for each measurement; all of them where there are fewer.
        micro_batch_size: b, the examples of one gradient.
        seed: Fixes the training and what is drawn.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
        learning_rate: Of that training; None for the model's own.
    """

    trial_id: str
    batch_size: int
    updates: int
    fractions: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
    examples: int = 4096
    micro_batch_size: int = 32
    seed: int = 0
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    evaluation_batch_size: int = 256
    learning_rate: float | None = None


@dataclass(frozen=True)
class NoiseScalePoint:
    """The gradient noise scale of the weights at one moment of a training.

    Args:
        at_examples: Training examples seen until then.
        value: B_simple = tr(Sigma)/|G|^2 in examples; None if |G|^2 is not distinguishable from 0.
        low: Lower end of the 90 % interval; also known where `value` is not.
        high: Upper end; None where `value` is.
        trace_of_covariance: tr(Sigma), of one example's gradient.
        squared_gradient_norm: |G|^2; its unbiased estimate may be negative.
    """

    at_examples: int
    value: float | None
    low: float | None
    high: float | None
    trace_of_covariance: float
    squared_gradient_norm: float


@dataclass(frozen=True)
class NoiseScales:
    """The gradient noise scale by training progress.

    Args:
        trial_id: The `NoiseScaleRequest` that this answers.
        points: One per fraction, by examples seen.
    """

    trial_id: str
    points: tuple[NoiseScalePoint, ...]


@dataclass(frozen=True)
class BranchRequest:
    """Ask a worker to train on from one moment of a training at several batch sizes. Answered by `Branches`, or by a
    `TrialOutcome` that says why there are none.

    Args:
        trial_id: Names the request.
        batch_sizes: Of the branches, ascending; the first is that of the training before, too.
        learning_rates: One for each.
        updates: Of the training before, at least 1.
        examples: Of each branch, to within a batch.
        repeats: Branches of each batch size, on examples that follow one another in an order that all sizes share.
        seed: Fixes the weights, the order of the training before, and with 1 more that of the branches.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
    """

    trial_id: str
    batch_sizes: tuple[int, ...]
    learning_rates: tuple[float, ...]
    updates: int
    examples: int
    repeats: int = 3
    seed: int = 0
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    evaluation_batch_size: int = 256


@dataclass(frozen=True)
class Branch:
    """The validation loss along one branch.

    Args:
        batch_size: Its batch size.
        repeat: Its number, from 0.
        examples: Seen since the branching, ascending.
        losses: After so many.
    """

    batch_size: int
    repeat: int
    examples: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Branches:
    """What came of a training that went on at several batch sizes.

    Args:
        trial_id: The `BranchRequest` that this answers.
        at_examples: Training examples seen before the branching.
        start: The validation loss there.
        branches: All repeats of a batch size, then those of the next.
    """

    trial_id: str
    at_examples: int
    start: float
    branches: tuple[Branch, ...]
