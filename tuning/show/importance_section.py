"""The section of the page that says how much each parameter moved the score."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tuning.show.canvas import BLUE, Section, left_out
from tuning.show.evidence import Evidence
from tuning.stats.reasons import listing
from tuning.trial import Trial

_TITLE = "Importance of the parameters"
_LEAST_TRIALS = 12  # below, a forest of trees has little to learn from
_TREES = 32
_RATE = "learning_rate"


def importance_section(evidence: Evidence) -> tuple[Section, ...]:
    """Shares of the variance of the score; nothing where fewer than two parameters vary apart from each other."""
    trials = [trial for trial in evidence.trials if trial.scored and trial.score is not None]
    varying = _varying(trials)
    if len(varying) < 2:
        return ()
    if evidence.target is not None:
        return (left_out(_TITLE, "Trainings end at the target, so that their scores say little of the parameters."),)
    if len(trials) < _LEAST_TRIALS:
        return (left_out(_TITLE, f"Fewer than {_LEAST_TRIALS} trials have a score."),)
    shares = parameter_shares(trials, varying)
    if not shares:
        return (left_out(_TITLE, "All scores are alike."),)
    objective = evidence.answer.recommendation.objective
    told = (
        f"The share of the variance of {objective} over the whole space that each parameter explains, by itself and "
        f"with others, by a random forest on {len(trials)} trials of every stage (fANOVA). The values tried "
        f"were {listing([_told(name, values) for name, values in varying.items()])}."
    )
    return (Section(_TITLE, lambda axes: draw_importance(axes, shares), told),)


def parameter_shares(trials: Sequence[Trial], varying: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    """Return the importance of each parameter, the largest first; empty where all scores are alike.

    Args:
        trials: With scores.
        varying: The values of each parameter, in the order of the trials.

    Source: Hutter, Hoos and Leyton-Brown, An efficient approach for assessing hyperparameter importance (2014), as
        Optuna implements it.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    scores = [float(trial.score or 0.0) for trial in trials]
    if max(scores) == min(scores):
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study
    distributions = {name: _distribution(values) for name, values in varying.items()}
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage(), study_name="importance")
    for place, score in enumerate(scores):
        params = {name: values[place] for name, values in varying.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(n_trees=_TREES, seed=0)))


def draw_importance(axes: Any, shares: Mapping[str, float]) -> None:
    """Draw a bar for each parameter, the most important one on top.

    Args:
        axes: The matplotlib axes.
        shares: By name, from 0 to 1.
    """
    names = list(shares)[::-1]
    bars = axes.barh(names, [shares[name] for name in names], color=BLUE, height=0.5)
    axes.bar_label(bars, labels=[f"{shares[name]:.0%}" for name in names], padding=3)
    axes.set_xlim(0, 1.12 * max(shares.values()))
    axes.set_ylim(-0.8, len(names) - 0.2)
    axes.set_xlabel("share of the variance")


def _varying(trials: Sequence[Trial]) -> dict[str, list[Any]]:
    """Return the values of the parameters that vary; not of a learning rate that the batch size decides."""
    found: dict[str, list[Any]] = {"batch_size": [trial.batch_size for trial in trials]}
    if all(trial.learning_rate is not None for trial in trials):
        found[_RATE] = [trial.learning_rate for trial in trials]
    names = sorted({name for trial in trials for name, _ in trial.hyperparameters})
    for name in names:
        values = [dict(trial.hyperparameters).get(name) for trial in trials]
        if None not in values:
            found[name] = values
    settings = len({(trial.batch_size, trial.learning_rate) for trial in trials})
    if settings == len(set(found["batch_size"])):
        found.pop(_RATE, None)
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def _distribution(values: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    known = list(dict.fromkeys(values))
    if any(isinstance(value, bool | str) for value in known):
        return CategoricalDistribution(known)
    low, high = float(min(known)), float(max(known))
    return FloatDistribution(low, high, log=low > 0)


def _told(name: str, values: Sequence[Any]) -> str:
    if any(isinstance(value, bool | str) for value in values):
        return f"{name} {', '.join(map(str, dict.fromkeys(values)))}"
    low, high = min(values), max(values)
    form = ".3g" if isinstance(low, float) and math.isfinite(low) else ""
    return f"{name} {low:{form}} to {high:{form}}"
