"""Writers of single runs: a trial's run, which grows while the trial trains, and runs that are written at once."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException

from tuning.objective import Objective
from tuning.passwords import without_passwords
from tuning.record import layout
from tuning.record.origin import origin_tags
from tuning.record.runs import FULL, RecordedRuns
from tuning.record.system_metrics import Monitor, monitor_of
from tuning.record.tracker import Deciding
from tuning.trial import EpochReport, Trial, TrialOutcome

_MOST_PARAMS = 100  # in a batch


@dataclass
class StudyRuns:
    """Where the runs of a study are written. It is opened by whoever writes first, once the store lets itself be asked.

    All is called in the thread that writes, but for `reconcile_with`.

    Args:
        client: Returns the store's client.
        open_experiment: Makes or finds the study's experiment, and returns its id.
        objective: The metric that it compares; None if its settings do not tell.
        data: What its trials train on; None if its settings do not tell.
        deciding: The trials that decided, as far as a recommendation has been made.
        command: What the study was searched with; empty for a script.
    """

    client: Callable[[], MlflowClient]
    open_experiment: Callable[[MlflowClient], str]
    objective: Objective | None = None
    data: DatasetInput | None = None
    deciding: Deciding = field(default_factory=dict)
    command: str = ""
    experiment_id: str = ""
    """Empty until it is open."""
    recorded: RecordedRuns = field(default_factory=RecordedRuns)
    """The trials' runs; empty until it is open."""
    _unreconciled: tuple[Collection[str], Collection[str]] | None = None

    def reconcile_with(self, finished: Collection[str], interrupted: Collection[str]) -> None:
        """Have `opened` make the runs that there are agree with the search's record (`RecordedRuns.reconcile`)."""
        self._unreconciled = finished, interrupted

    def opened(self) -> MlflowClient:
        """Return the client, with the experiment made or found and the trials' runs known."""
        client = self.client()
        if not self.experiment_id:
            experiment_id = self.open_experiment(client)
            self.recorded = RecordedRuns.of(client, experiment_id)
            self.experiment_id = experiment_id
        if self._unreconciled is not None:
            experiment_id, self.experiment_id = self.experiment_id, ""  # if this fails midway, they are read again
            self.recorded.reconcile(client, *self._unreconciled)
            self.experiment_id, self._unreconciled = experiment_id, None
        return client


def now_ms() -> int:
    """Return the milliseconds since 1970, as MLflow's timestamps are."""
    return time.time_ns() // 1_000_000


class TrialWriter:
    """Writes a trial's run: its start, its epochs, its end. Whoever follows the trial adds what happens.

    The run is ended by the last piece, after everything else has been taken, so that no reader counts a run as
    complete whose metrics have not arrived.

    Args:
        trial: As it starts.
        runs: Where to write.
    """

    def __init__(self, trial: Trial, runs: StudyRuns) -> None:
        self.name = name_of(trial.trial_id)
        self.written_at = -math.inf
        """When the last piece was written, in seconds of `time.monotonic`."""
        self._trial, self._runs = trial, runs
        self._started_ms = now_ms()
        self._reports: list[tuple[EpochReport, int]] = []
        self._ended: tuple[TrialOutcome, int] | None = None
        self._tried, self._run_id = trial.outcome is not None, ""  # one that has ended is written again, where it lacks
        self._n_written = 0
        self._pieces: deque[Callable[[], None]] = deque([self._open, self._log_params, self._log_data])
        self._is_done = False
        self._monitor: Monitor | None = None

    def add(self, report: EpochReport) -> None:
        """Let the run grow by an epoch."""
        self._reports.append((report, now_ms()))

    def end(self, outcome: TrialOutcome) -> None:
        """Let the run end; nothing is added after that."""
        self._ended = outcome, now_ms()

    @property
    def n_epochs(self) -> int | None:
        """The epochs of a trial that has ended; None before."""
        if self._ended is None:
            return None
        return self._reports[-1][0].epoch if self._reports else 0

    def write_next(self) -> bool:
        """Write the next piece; return whether there is more of what there was before it."""
        ended, n_reports = self._ended, len(self._reports)  # in this order, for no report follows the end
        if self._is_done:
            return False
        if not self._pieces and self._n_written < n_reports:
            self._pieces.append(self._log_epochs)
        elif not self._pieces and ended is not None:
            self._pieces.extend(self._last_pieces(*ended))
        if self._pieces:
            self._pieces[0]()
            self._pieces.popleft()
            self.written_at = time.monotonic()
        return not self._is_done and (bool(self._pieces) or self._n_written < n_reports or ended is not None)

    def abandon(self, reason: str) -> None:
        """Let the run say that it is not complete, if it has been made."""
        if self._run_id and not self._is_done:
            told = f"**not complete**: MLflow has refused a part of this run: {without_passwords(reason)}"
            self._runs.client().log_batch(self._run_id, tags=layout.as_tags({layout.NOTE: told}))
            self._runs.client().set_terminated(self._run_id, "FAILED")

    def _open(self) -> None:
        client, trial = self._runs.opened(), self._trial
        recorded = self._runs.recorded
        if trial.outcome is not None and recorded.holds(trial.trial_id, _last_epoch(trial)):
            self._is_done = True  # as was not known yet while the store was away
            return
        if self._tried:  # a run may have been made although the answer was lost, by this process or an earlier one
            recorded.look_again(client, self._runs.experiment_id, trial.trial_id)
        self._tried = True
        recorded.delete(client, trial.trial_id)
        made = client.create_run(
            self._runs.experiment_id,
            start_time=self._started_ms,
            tags=origin_tags(self._runs.command) | layout.start_tags(trial),
            run_name=layout.run_name(trial),
        )
        self._run_id = made.info.run_id
        recorded.add(trial.trial_id, self._run_id)
        if self._ended is None:
            self._monitor = monitor_of(client.tracking_uri, self._run_id)

    def _log_params(self) -> None:
        self._log(params=layout.as_params(layout.trial_params(self._trial)))

    def _log_data(self) -> None:
        if self._runs.data is not None:
            self._runs.client().log_inputs(self._run_id, [self._runs.data])

    def _log_epochs(self) -> None:
        metrics: list[Metric] = []
        last = self._n_written
        while last < len(self._reports) and len(metrics) < FULL:
            report, at_ms = self._reports[last]
            before = self._reports[last - 1][0] if last else None
            metrics += layout.as_metrics(layout.epoch_values(report, before), at_ms, report.examples_seen)
            last += 1
        self._log(metrics)
        self._n_written = last

    def _last_pieces(self, outcome: TrialOutcome, at_ms: int) -> Iterator[Callable[[], None]]:
        if outcome.log_tail:
            yield lambda: self._log_text(outcome.log_tail)
        yield lambda: self._log_outcome(outcome, at_ms)
        yield lambda: self._terminate(outcome, at_ms)

    def _log_text(self, text: str) -> None:
        try:
            self._runs.client().log_text(self._run_id, text, layout.LOG_TAIL)
        except Exception as error:
            # The store of artifacts may be one that only the server can write; the run's description has the text, too.
            if isinstance(error, MlflowException | RequestException):
                raise

    def _log_outcome(self, outcome: TrialOutcome, at_ms: int) -> None:
        outcome, course_tags = self._with_course(outcome)
        last = self._reports[-1][0] if self._reports else None
        params = layout.as_params(layout.outcome_params(outcome, layout.trial_params(self._trial)))
        tags = layout.as_tags(layout.outcome_tags(outcome) | course_tags)
        metrics = layout.outcome_metrics(outcome, last, at_ms)
        if (numbers := self._runs.deciding.get(self._trial.trial_id)) is not None:  # the answer came before this run
            metrics += layout.answer_metrics(numbers, at_ms)
            tags += layout.as_tags({layout.DECIDES: layout.YES})
        self._log(metrics, params, tags)

    def _with_course(self, outcome: TrialOutcome) -> tuple[TrialOutcome, dict[str, str]]:
        """Return the outcome with what its epochs show as numbers, and the same in words."""
        if self._runs.objective is None:
            return outcome, {}
        trial = replace(self._trial, reports=tuple(report for report, _ in self._reports), outcome=outcome)
        numbers, tags = layout.course(trial, self._runs.objective)
        return replace(outcome, measurements={**numbers, **outcome.measurements}), tags

    def _terminate(self, outcome: TrialOutcome, at_ms: int) -> None:
        if self._monitor is not None:
            self._monitor.finish()
        self._runs.client().set_terminated(self._run_id, layout.run_status(outcome.status), at_ms)
        self._is_done = True
        self._runs.recorded.add(self._trial.trial_id, self._run_id, epochs=self.n_epochs)

    def _log(self, metrics: Sequence[Metric] = (), params: Sequence[Param] = (), tags: Sequence[RunTag] = ()) -> None:
        """Write in batches that every server takes; the tags, which say how a trial ended, with the last one."""
        client = self._runs.client()
        n_batches = max(1, -(-len(metrics) // FULL), -(-len(params) // _MOST_PARAMS))
        for place in range(n_batches):
            client.log_batch(
                self._run_id,
                metrics=metrics[place * FULL : (place + 1) * FULL],
                params=params[place * _MOST_PARAMS : (place + 1) * _MOST_PARAMS],
                tags=tags if place == n_batches - 1 else (),
            )


def _last_epoch(trial: Trial) -> int:
    return trial.reports[-1].epoch if trial.reports else 0


class OneWriter:
    """Writes what is one piece: a document, or the settings.

    Args:
        name: What it is, for people.
        write: Writes it, in place of an earlier one.
        kept: The file that keeps it until then; None if there is none.
    """

    def __init__(self, name: str, write: Callable[[], object], kept: Path | None = None) -> None:
        self.name, self._write, self._kept = name, write, kept

    def write_next(self) -> bool:
        """Write it, and remove the file."""
        self._write()
        if self._kept is not None:
            self._kept.unlink(missing_ok=True)
        return False

    def abandon(self, reason: str) -> None:
        """Leave the file, from which the next search delivers it."""


def name_of(trial_id: str) -> str:
    """Return the name of a trial's writer."""
    return f"trial {trial_id}"
