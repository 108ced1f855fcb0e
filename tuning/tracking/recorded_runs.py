"""RecordedRuns: which runs an experiment holds for which trial, and whether they say how it ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from mlflow import MlflowClient

from tuning.tracking import experiments, layout
from tuning.trial import Status, TrialOutcome


@dataclass(frozen=True)
class _Run:
    run_id: str
    is_complete: bool  # ended, and says how


@dataclass
class RecordedRuns:
    """The runs of a study by trial; more than one where a driver died or an answer was lost."""

    _by_trial: dict[str, list[_Run]] = field(default_factory=dict)

    @classmethod
    def of(cls, client: MlflowClient, experiment_id: str) -> RecordedRuns:
        """Those that MLflow holds."""
        found: dict[str, list[_Run]] = defaultdict(list)
        for run in experiments.all_runs(client, experiment_id):
            if trial_id := run.data.tags.get(layout.TRIAL_ID):
                ended = run.info.status != "RUNNING" and layout.STATUS in run.data.tags
                found[trial_id].append(_Run(run.info.run_id, ended))
        return cls(dict(found))

    def holds(self, trial_id: str) -> bool:
        """Whether a run says how the trial ended."""
        return any(run.is_complete for run in self._by_trial.get(trial_id, ()))

    def add(self, trial_id: str, run_id: str) -> None:
        """A run has ended that says how its trial did."""
        self._by_trial[trial_id] = [_Run(run_id, is_complete=True)]

    def delete(self, client: MlflowClient, trial_id: str) -> None:
        """Move a trial's runs to MLflow's trash."""
        for run in self._by_trial.pop(trial_id, ()):
            client.delete_run(run.run_id)

    def reconcile(self, client: MlflowClient, finished: Collection[str], interrupted: Collection[str]) -> None:
        """End the runs that a killed driver left running, and leave one run per trial.

        A run whose trial the search calls interrupted becomes interrupted whatever the run says: the driver may have
        died between recording the end here and there. So does any run that claims to be running and whose trial has
        not finished, for this process has started none yet.
        """
        for trial_id, runs in self._by_trial.items():
            kept = next((run for run in reversed(runs) if run.is_complete), runs[-1])
            for run in runs:
                if run is not kept:
                    client.delete_run(run.run_id)
            if trial_id in interrupted or not (kept.is_complete or trial_id in finished):
                _interrupt(client, kept)
            self._by_trial[trial_id] = [kept]


def _interrupt(client: MlflowClient, run: _Run) -> None:
    outcome = TrialOutcome("", Status.INTERRUPTED, "the search was stopped while this trial ran")
    client.log_batch(run.run_id, tags=layout.as_tags(layout.outcome_tags(outcome)))
    client.set_terminated(run.run_id, layout.run_status(outcome.status))
