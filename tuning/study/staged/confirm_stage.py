"""Stage 3: each batch size at its best learning rate on fresh seeds, and more of them where it is close."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.space import Setting
from tuning.machine.facts import NoiseFacts
from tuning.stats.arms import Arm
from tuning.stats.decision import sizes_worth_another_seed
from tuning.stats.results import CONFIRM, SEARCH
from tuning.study.plans import Planned
from tuning.study.staged.reference import SEEDS, Reference, confirm_budget, has_reached, judged_target
from tuning.study.staged.reference_stage import REFERENCE
from tuning.study.staged.seen import Seen

MORE_SEEDS = 2
"""Fresh seeds that batch sizes in a close race may get beyond those planned."""


def due(seen: Seen, noise: NoiseFacts, reference: Reference) -> list[Planned]:
    """What the confirmation still needs; a further seed is asked for only when all trials of the seeds before ended."""
    chosen = settings(seen, reference)
    first = seen.question.first_seed + SEEDS
    further = first + seen.question.seeds
    lacking = []
    for seed in range(first, further):
        lacking += _lacking(seen, noise, reference, chosen, seed)
    going_on = chosen
    for seed in range(further, further + MORE_SEEDS):
        if lacking or seen.is_running(CONFIRM, before_seed=seed):
            break
        worth = _worth_another(seen.without(CONFIRM, from_seed=seed), reference)
        going_on = {size: setting for size, setting in going_on.items() if size in worth}
        lacking = _lacking(seen, noise, reference, going_on, seed)
    return lacking


def settings(seen: Seen, reference: Reference) -> dict[int, Setting]:
    """Each batch size to confirm at its best setting in the search: those that reached the target, or all if none did.

    The confirming trials themselves do not enter, so that the settings stay what they were.
    """
    best = seen.best(reference.target, REFERENCE, SEARCH)
    reached = {size: arm for size, arm in best.items() if _reaches(arm, reference, seen)}
    return {size: Setting(size, arm.learning_rate, arm.hyperparameters) for size, arm in (reached or best).items()}


def _lacking(
    seen: Seen, noise: NoiseFacts, reference: Reference, chosen: Mapping[int, Setting], seed: int
) -> list[Planned]:
    """Those of the chosen settings that have not run with a seed."""
    planned = (
        Planned(setting, seed, CONFIRM, confirm_budget(reference, size, noise.critical_batch_size, seen.question))
        for size, setting in chosen.items()
        if not seen.has_no_memory_for(size)
    )
    return [each for each in planned if not seen.has_started(each)]


def _worth_another(seen: Seen, reference: Reference) -> tuple[int, ...]:
    """The batch sizes that may still be the best."""
    question = seen.question
    return sizes_worth_another_seed(
        seen.results(REFERENCE, SEARCH, CONFIRM),
        maximize=question.maximize,
        rule=question.rule,
        tolerance=question.tolerance,
        target=judged_target(reference, seen.results(CONFIRM), question),
        throughput=seen.machine.user.examples_per_second(seen.space.batch_size.values()),
        most_seeds=question.seeds + MORE_SEEDS,
    )


def _reaches(arm: Arm, reference: Reference, seen: Seen) -> bool:
    return has_reached(arm.trials, reference.target, maximize=seen.question.maximize)
