"""StagedPlan: learning rates at a reference batch size, then batch sizes around the forecast, then fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from search_spaces.space import SearchSpace, Setting
from tuning.machine.facts import MachineFacts, NoiseFacts
from tuning.stats.results import CONFIRM, SEARCH
from tuning.study.plans import Pause, Planned, ask_for
from tuning.study.records import TrialRecord
from tuning.study.staged import confirm_stage, reference_stage, search_stage
from tuning.study.staged.forecast import Forecast, forecast
from tuning.study.staged.question import Question
from tuning.study.staged.rates import WINDOW
from tuning.study.staged.reference import Reference, judged_target
from tuning.study.staged.reference_stage import REFERENCE
from tuning.study.staged.seen import Seen, defaults_of
from tuning.study.staged.sizes import MOST_SIZES
from tuning.trial import HyperparameterValue


class StagedPlan:
    """Decides by the records alone, so that a search which was killed goes on as if it had not been.

    1. reference: five learning rates spaced by 3 at one batch size, moved outward while the best is at an edge; the
       two best on two more seeds, if the target is to be what the better of them reaches.
    2. search: six batch sizes around the forecast, three learning rates each around the rule's centre, moved outward
       likewise, at the reference's seed. These trainings end at the target.
    3. confirm: each batch size that reached the target at its best rate, on fresh seeds shared by all; then one seed
       more, twice at most, for those that may still be the best.

    What is measured between them is learnt by `learn`: without the machine's facts nothing starts, and without those
    of the noise nothing after the reference.

    Args:
        space: What may be tried; the model's own hyperparameters are held at their defaults.
        question: What is to be answered.
        all_sizes: Whether every batch size of the space is searched, because the user named them.
    """

    def __init__(self, space: SearchSpace, question: Question, *, all_sizes: bool = False) -> None:
        self.encoding = PlainEncoding()
        self.question = question
        self.machine: MachineFacts | None = None
        self.noise: NoiseFacts | None = None
        self._space = space
        self._all_sizes = all_sizes

    def learn(self, *, machine: MachineFacts | None = None, noise: NoiseFacts | None = None) -> None:
        """Take in what was measured."""
        self.machine, self.noise = machine or self.machine, noise or self.noise

    def next(self, study: optuna.Study, records: Sequence[TrialRecord], trial_id: str) -> optuna.Trial | Pause:
        found = self.decide(records)
        return found if isinstance(found, Pause) else ask_for(study, found, self.encoding, trial_id)

    def decide(self, records: Sequence[TrialRecord]) -> Planned | Pause:
        """The next trial, or why there is none now: a pure function of the records and of what was learnt."""
        seen = self._seen(records)
        if seen is None:
            return Pause.DONE
        for stage in (REFERENCE, SEARCH, CONFIRM):
            if due := self._due(seen, stage):
                return due[0]
            if seen.is_running(stage):
                return Pause.WAIT
        return Pause.DONE

    def total(self, records: Sequence[TrialRecord]) -> int:
        """Those that ran, and those that are due as far as is known: none for edges and close races to come."""
        settled = sum(record.is_settled for record in records)
        seen = self._seen(records)
        if seen is None:
            return settled
        due = {stage: len(self._due(seen, stage)) for stage in (REFERENCE, SEARCH, CONFIRM)}
        due[REFERENCE] += reference_stage.repeats_ahead(seen)
        if due[REFERENCE] or seen.is_running(REFERENCE) or (self.noise is None and self.reference(records)):
            sizes = len(self._space.batch_size.values()) if self._all_sizes else MOST_SIZES
            return settled + due[REFERENCE] + (sizes - 1) * self.rates_per_size + sizes * self.question.seeds
        if due[SEARCH] or seen.is_running(SEARCH):
            return settled + due[SEARCH] + len(self.sizes(records)) * self.question.seeds
        return settled + due[CONFIRM]

    @property
    def rates_per_size(self) -> int:
        """Learning rates that a batch size is searched with at first."""
        rate = self._space.learning_rate
        return 1 if rate is None else len(rate.values or WINDOW)

    def reference(self, records: Sequence[TrialRecord]) -> Reference | None:
        """What the reference taught, once it is complete; None before, or if none of its trainings gave a score."""
        seen = self._seen(records)
        return None if seen is None else reference_stage.outcome(seen)

    def target(self, records: Sequence[TrialRecord]) -> float | None:
        """The score by the time to which an answer is judged; None before the reference has set one."""
        seen, reference = self._seen(records), self.reference(records)
        if seen is None or reference is None:
            return self.question.target
        return judged_target(reference, seen.results(CONFIRM), self.question)

    def sizes(self, records: Sequence[TrialRecord]) -> tuple[int, ...]:
        """The batch sizes to search, ascending, the reference among them; empty before they are known."""
        seen, reference = self._seen(records), self.reference(records)
        if seen is None or reference is None or self.noise is None:
            return ()
        return search_stage.sizes(seen, self.noise, reference, all_sizes=self._all_sizes)

    def forecast(self, records: Sequence[TrialRecord]) -> Forecast:
        """What is ahead.

        Raises:
            ValueError: If the machine is not known yet.
        """
        seen = self._seen(records)
        if seen is None:
            raise ValueError("The machine must be known to forecast a search; call learn first.")
        return forecast(seen, self.rates_per_size, all_sizes=self._all_sizes)

    @property
    def hyperparameters(self) -> dict[str, HyperparameterValue]:
        """The model's own, at their defaults."""
        return defaults_of(self._space)

    def _seen(self, records: Sequence[TrialRecord]) -> Seen | None:
        if self.machine is None:
            return None
        return Seen(self._space, self.question, self.machine, self.noise, tuple(records))

    def _due(self, seen: Seen, stage: str) -> list[Planned]:
        if stage == REFERENCE:
            return reference_stage.due(seen)
        reference = reference_stage.outcome(seen)
        if reference is None or self.noise is None:
            return []
        if stage == SEARCH:
            return search_stage.due(seen, self.noise, reference, all_sizes=self._all_sizes)
        return confirm_stage.due(seen, self.noise, reference)


class PlainEncoding:
    """Batch size and learning rate as they are: nothing is sampled, so Optuna need only show them."""

    def encode(self, setting: Setting) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        params: dict[str, Any] = {"batch_size": setting.batch_size}
        distributions: dict[str, BaseDistribution] = {"batch_size": IntDistribution(1, 2**31, log=True)}
        if setting.learning_rate is not None:
            params["learning_rate"] = setting.learning_rate
            distributions["learning_rate"] = FloatDistribution(1e-30, 1e30, log=True)
        return params, distributions
