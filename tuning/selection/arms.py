"""Arms: each batch size at its best setting, with the trials that judge it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tuning.selection.results import CONFIRM, Hyperparameters, Setting, TrialResult, mean_by_seed
from tuning.selection.settings import Chooser
from tuning.trial import Status

_UNTRIED = (Status.FAILED, Status.INTERRUPTED)
LEAST_LEARNING_RATES = 3  # of two, the better one always is at an end


@dataclass(frozen=True)
class Arm:
    """One batch size at its best setting.

    Args:
        batch_size: The batch size.
        learning_rate: Of the setting.
        hyperparameters: Of the setting.
        scores: Objective by seed, of the completed trials that judge it.
        trials: The trials that judge it: of this setting, and of stage "confirm" if there are any of that stage.
        all_trials: Every trial of this batch size.
        confirmed: Whether the judging trials are of stage "confirm".
        settings: How many settings were tried at this batch size.
        learning_rates: Ascending, tried at this batch size with these hyperparameters.
    """

    batch_size: int
    learning_rate: float | None
    hyperparameters: Hyperparameters
    scores: dict[int, float]
    trials: tuple[TrialResult, ...]
    all_trials: tuple[TrialResult, ...]
    confirmed: bool
    settings: int
    learning_rates: tuple[float, ...]

    @property
    def lost(self) -> dict[int, Status]:
        """Status by seed of the judging trials that gave no score; a seed that was run again and scored is not lost.

        A trial that completed with a score that is no finite number counts as diverged.
        """
        return {t.seed: t.outcome for t in self.trials if t.seed not in self.scores}

    @property
    def broken(self) -> Status | None:
        """How this batch size itself fails (out of memory, then diverged) in a judging trial; None if it does not."""
        lost = set(self.lost.values())
        return next((s for s in (Status.OUT_OF_MEMORY, Status.DIVERGED) if s in lost), None)

    @property
    def peak_memory_bytes(self) -> float | None:
        """The largest of its trials; None if none told."""
        return max((t.peak_memory_bytes for t in self.all_trials if t.peak_memory_bytes), default=None)

    @property
    def edge(self) -> str | None:
        """ "lowest" or "highest" if the learning rate lies at an end of three or more that were tried, else None."""
        if self.learning_rate is None or len(self.learning_rates) < LEAST_LEARNING_RATES:
            return None
        ends = {self.learning_rates[0]: "lowest", self.learning_rates[-1]: "highest"}
        return ends.get(self.learning_rate)


def group_into_arms(results: Sequence[TrialResult], *, maximize: bool, target: float | None = None) -> tuple[Arm, ...]:
    """Return one arm per batch size, ascending, each at its best setting.

    Settings are compared by the objective or, with a target that every scored trial left a curve for, by examples to
    the target. Those whose trials broke (diverged, out of memory) come after those whose did not. Of the others:

    - If settings differ in their learning rate only, the one with the best score after smoothing over neighbouring
      learning rates and batch sizes (`smoothing`), among those not clearly worse than the best mean. Clearly: by more
      than twice the standard error that repeats show.
    - Else the one with the best `mean - s/sqrt(n)` over its n seeds, s the standard deviation pooled over all repeated
      settings: one lucky score does not beat a mean of several.
    """
    by_size: dict[int, list[TrialResult]] = defaultdict(list)
    for result in results:
        by_size[result.batch_size].append(result)
    chooser = Chooser(results, maximize=maximize, target=target)
    return tuple(_arm(size, by_size[size], chooser) for size in sorted(by_size))


def _arm(batch_size: int, trials: list[TrialResult], chooser: Chooser) -> Arm:
    confirming = [t for t in trials if t.stage == CONFIRM]
    judging: dict[Setting, list[TrialResult]] = defaultdict(list)
    for trial in confirming or trials:
        judging[trial.setting].append(trial)
    best = chooser.best(batch_size, judging)
    tried = (t.learning_rate for t in trials if t.hyperparameters == best[1] and t.status not in _UNTRIED)
    return Arm(
        batch_size=batch_size,
        learning_rate=best[0],
        hyperparameters=best[1],
        scores=mean_by_seed([(t.seed, t.objective) for t in judging[best] if t.scored]),
        trials=tuple(judging[best]),
        all_trials=tuple(trials),
        confirmed=bool(confirming),
        settings=len({t.setting for t in trials}),
        learning_rates=tuple(sorted({rate for rate in tried if rate is not None})),
    )
