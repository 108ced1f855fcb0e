"""The trials that decided, each with the numbers of the table that it stands behind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tuning.objective import Objective
from tuning.stats.arms import group_into_arms
from tuning.stats.table import TableRow
from tuning.trial import Trial

Numbers = Mapping[str, float]


def deciding_trials(
    trials: Sequence[Trial], table: Sequence[TableRow], *, objective: Objective, target: float | None
) -> dict[str, Numbers]:
    """Return, by the name of each trial whose score is in a recommendation's table, what the table says of its row.

    The numbers are rounded as people read them: `score` is the trial's own, `learning_rate`, `mean`, `standard_error`,
    `examples_per_second`, `peak_memory_mib` and `seconds_to_target` those of its batch size, and `log2_batch_size` its
    place on the axis. What is unknown is left out.

    Args:
        trials: Every trial of the study that has ended.
        table: The recommendation's.
        objective: The metric that decided.
        target: The score by the time to which it was judged, or None.
    """
    arms = group_into_arms(trials, objective=objective, target=target)
    rows = {row.batch_size: _numbers_of(row) for row in table}
    return {
        trial.trial_id: {"score": round(trial.score, 4), **rows[arm.batch_size]}
        for arm in arms
        for trial in arm.trials
        if trial.scored and trial.score is not None
    }


def _numbers_of(row: TableRow) -> Numbers:
    found = {
        "log2_batch_size": math.log2(row.batch_size),
        "learning_rate": _significant(row.learning_rate),
        "mean": _rounded(row.objective_mean, 4),
        "standard_error": _rounded(row.objective_se, 4),
        "examples_per_second": _rounded(row.examples_per_second, 0),
        "peak_memory_mib": _rounded(None if row.peak_memory_bytes is None else row.peak_memory_bytes / 2**20, 0),
        "seconds_to_target": _significant(row.seconds_to_target),
    }
    return {name: value for name, value in found.items() if value is not None}


def _rounded(value: float | None, decimals: int) -> float | None:
    return None if value is None else round(value, decimals)


def _significant(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
