"""MlflowTracker: one MLflow experiment per study, one flat run per trial."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from tuning.messages import Measurement
from tuning.passwords import without_passwords
from tuning.record import experiments, layout
from tuning.record.mlflow_private import EXPERIMENT_KIND, client_limits, view_tag
from tuning.record.outbox import Outbox, Write
from tuning.record.runs import RecordedRuns, write_measurement, write_recommendation
from tuning.record.store import (
    TrackingWarning,
    answers,
    check_store,
    connect,
    is_transient,
    one_line,
    prepare_file,
    resolve_tracking_uri,
    sqlite_path,
)
from tuning.record.tracker import Files
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

_PAUSE_S = 1.0  # between batches of a trial's epochs: a batch costs the driver about 6 ms, however many it holds
_FULL = 500  # metrics; MLflow takes at most 1000 in a batch


@dataclass
class _OpenRun:
    """A trial's run that has not ended, and what waits to be sent to it."""

    trial: Trial
    run_id: str | None = None
    tried: bool = False
    last: EpochReport | None = None
    gathered: list[Metric] = field(default_factory=list)
    sent_at: float = float("-inf")


class MlflowTracker:
    """Records a study in MLflow, as a `Tracker`.

    Runs are flat, because nested ones open as an empty page. The *step of a metric is the number of training examples
    seen*, not the epoch, so that a chart compares batch sizes, and budgets, at equal examples; `epoch` and `updates`
    are metrics, too, and can be chosen as a chart's axis. Epochs that follow one another within a second are sent
    together.

    Neither MLflow's active run nor autologging nor asynchronous logging is used: each write names its run and is made
    at once. A server that goes away during the search costs nothing but its record's freshness: writes wait, in order
    (`Outbox`), and what is never sent is sent when the same search is started again (`missing`).

    Args:
        tracking_uri: As `resolve_tracking_uri` takes it. Artifacts of a sqlite store go beside it, in `mlartifacts`.
        clock: Seconds, never running backwards; paces the attempts to reach a server that is gone.

    Raises:
        TrackingError: If the store cannot be reached or written. Nothing has been written then.
    """

    def __init__(self, tracking_uri: str | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.tracking_uri = resolve_tracking_uri(tracking_uri)
        self.experiment_id = ""
        self._clock = clock
        self._outbox = Outbox(is_transient, clock=clock)
        self._warned = False
        self._open_runs: dict[str, _OpenRun] = {}
        self._recorded = RecordedRuns()
        self._connected: MlflowClient | None = None
        if sqlite_path(self.tracking_uri) is None:
            self._connected = connect(self.tracking_uri)
        else:
            check_store(self.tracking_uri)

    def prepare(self) -> None:
        path = sqlite_path(self.tracking_uri)
        if path is not None and not path.exists():
            prepare_file()

    def fresh(self, study: str) -> None:
        """Rename the study's experiment to "STUDY (until DATE TIME)", so that the name is free and nothing is lost."""
        path = sqlite_path(self.tracking_uri)
        if path is None or path.exists():
            with answers(self.tracking_uri):
                experiments.set_aside(self._client, study)

    def start_study(self, study: str, settings: Mapping[str, str]) -> None:
        """Make or reuse the experiment named after the study and learn which trials it holds.

        Raises:
            TrackingError: If MLflow does not answer, or the experiment holds runs of another program.
        """
        tags = {f"{layout.SETTINGS}{name}": value for name, value in settings.items()}
        tags |= EXPERIMENT_KIND
        if "objective" in settings:
            metric = layout.clean_name(settings["objective"])
            tags |= view_tag(metric, trial_tag=layout.TRIAL_ID, status_tag=layout.STATUS)
        with answers(self.tracking_uri):
            self.experiment_id = experiments.open_experiment(self._client, study, tags)
            self._recorded = RecordedRuns.of(self._client, self.experiment_id)

    def reconcile(self, finished: Collection[str], interrupted: Collection[str]) -> None:
        """End the runs that a killed driver left, and leave one for each trial (`RecordedRuns.reconcile`).

        Raises:
            TrackingError: If MLflow does not answer.
        """
        with answers(self.tracking_uri):
            self._recorded.reconcile(self._client, finished, interrupted)

    def missing(self, finished: Collection[str]) -> set[str]:
        """Return the ended trials without a run that says so; recording them again replaces what there is."""
        return {trial_id for trial_id in finished if not self._recorded.holds(trial_id)}

    def start_trial(self, trial: Trial) -> None:
        """Make the trial's run; an earlier one of the same trial goes to MLflow's trash."""
        run = self._open_runs[trial.trial_id] = _OpenRun(trial)
        started_ms = _now_ms()
        self._send(lambda: self._open(run, started_ms))
        self._send(lambda: self._log(run, params=layout.as_params(layout.trial_params(trial))))

    def epoch(self, report: EpochReport) -> None:
        """Record metrics at the step `examples_seen`, sent at once or together with those of the next epochs."""
        run = self._open_runs[report.trial_id]
        values = layout.epoch_values(report, run.last)
        run.gathered += layout.as_metrics(values, _now_ms(), report.examples_seen)
        run.last = report
        if self._clock() - run.sent_at >= _PAUSE_S or len(run.gathered) >= _FULL:
            metrics, run.gathered, run.sent_at = run.gathered, [], self._clock()
            self._send(lambda: self._log(run, metrics=metrics))

    def end_trial(self, outcome: TrialOutcome) -> None:
        """Record what was measured once, why the trial did not complete, and MLflow's own status."""
        run = self._open_runs.pop(outcome.trial_id)
        ended_ms = _now_ms()
        metrics = [*run.gathered, *layout.outcome_metrics(outcome, run.last, ended_ms)]
        params = layout.as_params(layout.outcome_params(outcome, layout.trial_params(run.trial)))
        tags = layout.as_tags(layout.outcome_tags(outcome))
        if outcome.log_tail:
            self._send(lambda: self._log_text(run, outcome.log_tail, layout.LOG_TAIL))
        self._send(lambda: self._log(run, metrics=metrics, params=params, tags=tags))
        self._send(lambda: self._end(run, outcome.status, ended_ms))

    def measured(self, measurement: Measurement) -> None:
        """Make a run of stage "measurement"; an earlier one of the same name goes to MLflow's trash."""
        self._send(lambda: write_measurement(self._client, self.experiment_id, measurement))

    def recommended(self, recommendation: Mapping[str, Any], markdown: str, files: Files | None = None) -> None:
        """Write the run named "recommendation", in place of an earlier one.

        It holds `recommendation.json`, `report.md` and `files`; `markdown` also becomes the experiment's description.
        """
        contents = {
            "recommendation.json": json.dumps(recommendation, indent=2, default=str),
            "report.md": markdown,
            **(files or {}),
        }
        self._send(lambda: write_recommendation(self._client, self.experiment_id, markdown, contents))

    def close(self) -> None:
        """Send what still waits; warn (`TrackingWarning`) if it cannot be sent or was refused."""
        with client_limits(timeout_s=10, retries=1):
            self._outbox.flush()
        if len(self._outbox):
            self._warn(
                f"{len(self._outbox)} writes did not reach MLflow at {self.tracking_uri}. The search itself has lost "
                "nothing: start the same search again to send them."
            )
        if self._outbox.refused:
            first = one_line(self._outbox.refused[0])
            self._warn(f"MLflow refused {len(self._outbox.refused)} writes; the first: {first}.")
            self._outbox.refused.clear()

    @property
    def _client(self) -> MlflowClient:
        if self._connected is None:
            self._connected = connect(self.tracking_uri, create=True)
        return self._connected

    def _send(self, write: Write) -> None:
        with client_limits(timeout_s=10, retries=0):
            sent = self._outbox.send(write)
        if not sent and not self._warned:
            self._warn(
                f"MLflow at {self.tracking_uri} does not answer; the search goes on, and what it records is kept and "
                "sent later."
            )
        self._warned = not sent

    def _warn(self, message: str) -> None:
        warnings.warn(without_passwords(message), TrackingWarning, stacklevel=3)

    def _open(self, run: _OpenRun, started_ms: int) -> None:
        trial = run.trial
        if run.tried:  # the run may have been made although the answer was lost
            self._recorded = RecordedRuns.of(self._client, self.experiment_id)
        run.tried = True
        self._recorded.delete(self._client, trial.trial_id)
        made = self._client.create_run(
            self.experiment_id,
            start_time=started_ms,
            tags=layout.start_tags(trial),
            run_name=layout.run_name(trial),
        )
        run.run_id = made.info.run_id

    def _log(self, run: _OpenRun, **batch: Any) -> None:
        if run.run_id and any(batch.values()):
            self._client.log_batch(run.run_id, **batch)

    def _log_text(self, run: _OpenRun, text: str, name: str) -> None:
        if run.run_id:
            self._client.log_text(run.run_id, text, name)

    def _end(self, run: _OpenRun, status: Status, ended_ms: int) -> None:
        if run.run_id:
            self._client.set_terminated(run.run_id, layout.run_status(status), ended_ms)
            self._recorded.add(run.trial.trial_id, run.run_id)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
