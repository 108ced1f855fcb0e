"""StagedPlan: learning rates at a reference batch size, then batch sizes around the forecast, then fresh seeds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from search_spaces.space import SearchSpace
from tuning.plans.plan import Decision, Judgement, MeasureNoise, MemoryWall, Pause, TimeUpdates, Wish
from tuning.plans.staged.confirm_stage import confirm_trials
from tuning.plans.staged.outline import notes_of_stages, outline_of, rates_per_size, tell_plan, tell_search
from tuning.plans.staged.reference import Reference, judged_target
from tuning.plans.staged.reference_stage import reference_of, reference_trials, repeats_ahead
from tuning.plans.staged.search_stage import search_trials, searched_sizes
from tuning.plans.staged.state import StagedState, StudyGoal, defaults_of
from tuning.stats.forecast import MOST_SIZES
from tuning.study.records import ChangeReader, Records
from tuning.study.study import PlainEncoder
from tuning.trial import CONFIRM, Trial


@dataclass
class _Later:
    """About how many trials follow those that are due now."""

    trials: int = 0


class StagedPlan:
    """Decides by the records alone, so that a search which was killed goes on as if it had not been.

    1. reference: five learning rates spaced by 3 at one batch size, moved outward while the best is at an edge; the
       two best on two more seeds, if the target is to be what the better of them reaches.
    2. search: six batch sizes around the forecast, three learning rates each around the rule's centre, moved outward
       likewise, at the reference's seed. These trainings end at the target.
    3. confirm: each batch size that reached the target at its best rate, on fresh seeds shared by all; then one seed
       more, twice at most, for those that may still be the best.

    Updates are timed before the first trial, the gradient's noise is measured after the reference, and the batch sizes
    that were tried are timed again at the end.

    The records are read whole only when all that a stage was known to need has ended, a dozen times in a search; in
    between the plan hands out what it found due then.

    Args:
        space: What may be tried; the model's own hyperparameters are held at their defaults.
        goal: What is to be answered.
        all_sizes: Whether every batch size of the space is searched, because the user named them.
        timed_loop: How the training that is timed is called, for the notes.
    """

    def __init__(
        self, space: SearchSpace, goal: StudyGoal, *, all_sizes: bool = False, timed_loop: str = "plain model.fit"
    ) -> None:
        self.encoder = PlainEncoder()
        self._space, self._goal = space, goal
        self._all_sizes, self._timed_loop = all_sizes, timed_loop
        self._defaults = defaults_of(space)
        self._due: deque[Trial] = deque()
        self._running: set[str] = set()
        self._wall = MemoryWall()
        self._reader = ChangeReader()
        self._later = _Later()

    def next(self, records: Records) -> Decision:
        """Return the next trial, what is to be measured before it, or why there is neither."""
        if records.machine.user is None:
            return TimeUpdates(hyperparameters=self._defaults)
        self._follow(records)
        if (trial := self._take(records)) is not None:
            return trial
        if self._running:
            return Pause.WAIT
        wish = self._plan_ahead(records)
        if wish is not None:
            return wish
        return self._take(records) or Pause.DONE

    def total(self, records: Records) -> int:
        """Return the trials that ran and those that are due as far as is known: none for edges and close races."""
        begun = bool(self._due) and records.has(self._due[0])  # it leaves the queue at the next question
        return records.n_settled + len(self._due) - begun + self._later.trials

    def judgement(self, records: Records) -> Judgement:
        """Return the target and the timings that the answer is judged by."""
        state = self._state(records)
        if state is None:
            return Judgement(self._goal.target)
        reference = reference_of(state)
        target = self._goal.target
        if reference is not None:
            target = judged_target(reference, state.ended(CONFIRM), self._goal)
        timings = records.machine.user_least or state.user
        sizes = sorted({trial.batch_size for trial in records})
        notes = notes_of_stages(state, reference, target, timed_loop=self._timed_loop)
        return Judgement(target, timings.examples_per_second(sizes), notes)

    def outline(self, records: Records) -> str:
        """Return a line on what is ahead: before the first trial, and after the reference."""
        state = self._state(records)
        if state is None:
            return ""
        found, reference, noise = outline_of(state, all_sizes=self._all_sizes), reference_of(state), state.machine.noise
        if reference is None or noise is None:
            return tell_plan(found, self._goal)
        return tell_search(found, self._goal, reference, noise)

    def _follow(self, records: Records) -> None:
        """Take in which trials run and which sizes have run out of memory."""
        for trial in self._reader.new(records):
            if trial.status is None:
                self._running.add(trial.trial_id)
            else:
                self._running.discard(trial.trial_id)
                self._wall.add(trial)

    def _take(self, records: Records) -> Trial | None:
        """Return the first trial that is due and has not been started, and for whose size there is memory."""
        while self._due:
            trial = self._due[0]
            if not records.has(trial) and not self._wall.rules_out(trial.setting):
                return trial
            self._due.popleft()
        return None

    def _plan_ahead(self, records: Records) -> Wish | None:
        """Find out what the earliest incomplete stage needs, all before it being complete and nothing running."""
        state = self._state(records)
        assert state is not None
        self._due.extend(reference_trials(state))
        reference = reference_of(state)
        if self._due or reference is None:
            self._later.trials = self._later_than_reference(state) if self._due else 0
            return None
        if records.machine.noise is None:
            return self._noise_along(reference)
        self._due.extend(search_trials(state, reference, all_sizes=self._all_sizes))
        if self._due:
            self._later.trials = len(searched_sizes(state, reference, all_sizes=self._all_sizes)) * self._goal.seeds
            return None
        self._later.trials = 0
        self._due.extend(confirm_trials(state, reference))
        if not self._due and records.machine.throughput_again is None:
            sizes = tuple(sorted({trial.batch_size for trial in records}))
            return TimeUpdates(sizes, again=True, hyperparameters=self._defaults)
        return None

    def _later_than_reference(self, state: StagedState) -> int:
        """Return about how many trials follow those of the reference that are due now."""
        sizes = len(self._space.batch_size.values()) if self._all_sizes else MOST_SIZES
        return repeats_ahead(state) + (sizes - 1) * rates_per_size(state) + sizes * self._goal.seeds

    def _noise_along(self, reference: Reference) -> MeasureNoise:
        return MeasureNoise(
            reference.batch_size,
            reference.learning_rate,
            self._goal.first_seed,
            reference.examples,
            self._defaults,
        )

    def _state(self, records: Records) -> StagedState | None:
        if records.machine.user is None:
            return None
        return StagedState(self._space, self._goal, records.machine, tuple(records))
