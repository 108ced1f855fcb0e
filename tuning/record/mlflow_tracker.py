"""MlflowTracker: one MLflow experiment per study, one flat run per trial."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag

from tuning.messages import Measurement
from tuning.record import experiments, layout
from tuning.record.contact import Contact
from tuning.record.delivery_warnings import DeliveryWarnings
from tuning.record.documents import Document, MeasurementDocument, RecommendationDocument
from tuning.record.mlflow_private import EXPERIMENT_KIND, client_limits
from tuning.record.mlflow_views import View, view_tags
from tuning.record.outbox import Outbox, RunWriter
from tuning.record.owed import OwedFolder
from tuning.record.run_writers import OneWriter, StudyRuns, TrialWriter, name_of
from tuning.record.sqlite_file import prepare_file
from tuning.record.store import misfit, reaction_to, resolve_tracking_uri, sqlite_path
from tuning.record.tracker import Deciding, Files
from tuning.record.tracking_thread import TrackingThread
from tuning.trial import EpochReport, Trial, TrialOutcome

# Between batches of a trial's epochs: a batch costs about 6 ms, however many it holds. With many trials at once the
# pause grows, so that epochs take a third of the thread's time, and starts and ends of trials find it free.
_PAUSE_S, _PAUSE_PER_TRIAL_S = 1.0, 0.02
_TIMEOUT_S = 30  # of a request; nobody waits for it but the thread
_PATIENCE_S, _PATIENCE_WITH_FILES_S = 10.0, 60.0
_GRACE_S = 5.0


class MlflowTracker:
    """Records a study in MLflow, as a `Tracker`.

    Runs are flat, because nested ones open as an empty page. The *step of a metric is the number of training examples
    seen*, not the epoch, so that a chart compares batch sizes, and budgets, at equal examples; `epoch` and `updates`
    are metrics, too, and can be chosen as a chart's axis. Epochs that follow one another within a second, or
    longer where more than 50 trials run, are sent together.

    Everything is written by a thread (`TrackingThread`) behind an `Outbox`, so that no search waits for a server that
    is slow or away. A study may also begin without its server: whoever writes first opens the experiment
    (`StudyRuns.opened`). Neither MLflow's active run nor autologging nor asynchronous logging is
    used: each write names its run, and a run counts as complete only when all before its end has been taken. What has
    not been delivered at the end is delivered when the study is opened again (`missing`, `OwedFolder`).

    Args:
        tracking_uri: As `resolve_tracking_uri` takes it. Artifacts of a sqlite store go beside it, in `mlartifacts`.
        outbox: A folder beside the study, for what the study itself cannot tell again; None keeps that in memory alone.
        may_be_away: Whether to begin with a warning where a server does not answer, or lets nobody in.

    Raises:
        TrackingError: If the store cannot be reached or written. Nothing has been written then.
    """

    def __init__(
        self, tracking_uri: str | None = None, *, outbox: Path | None = None, may_be_away: bool = True
    ) -> None:
        self.tracking_uri = resolve_tracking_uri(tracking_uri)
        self._study = ""
        self._folder = None if outbox is None else OwedFolder(outbox)
        self._outbox = Outbox(reaction_to)
        self._thread = TrackingThread(self._outbox, lambda: client_limits(timeout_s=_TIMEOUT_S, retries=0))
        self._warnings = DeliveryWarnings(self.tracking_uri, self._outbox, is_kept=outbox is not None)
        tell_away = self._warnings.at_the_start if may_be_away else None
        self._store = Contact(self.tracking_uri, self._thread, tell_away)
        self._runs = StudyRuns(self._store.client, lambda _: "")
        self._open: dict[str, TrialWriter] = {}
        self._starts_over = False

    @property
    def experiment_id(self) -> str:
        """The study's experiment; empty until it has been opened."""
        return self._runs.experiment_id

    def prepare(self) -> None:
        path = sqlite_path(self.tracking_uri)
        if path is not None and not path.exists():
            try:
                prepare_file()
            except ImportError as error:
                raise misfit(error) from None

    def fresh(self, study: str) -> None:
        """Rename the study's experiment to "STUDY (until DATE TIME)", so that the name is free and nothing is lost."""
        path = sqlite_path(self.tracking_uri)
        holds_any = path is None or path.exists()
        is_done = holds_any and self._store.ask(lambda: experiments.set_aside(self._store.client(), study))
        self._starts_over = holds_any and not is_done
        if self._folder is not None:
            self._folder.clear()
            if self._starts_over:
                self._folder.note_start_over()

    def start_study(self, study: str, settings: Mapping[str, str]) -> None:
        """Make or reuse the experiment named after the study and learn which trials it holds.

        Raises:
            TrackingError: If MLflow fails, or the experiment holds runs of another program; never where the study has
                begun before.
        """
        tags = _tags_of(settings)
        if study != self._study:
            objective, data = layout.objective_of(settings), dataset_of(study, settings)
            open_experiment = partial(self._open_experiment, study, tags)
            command = settings.get("command", "")
            self._runs = StudyRuns(self._store.client, open_experiment, objective, data, command=command)
            if self._folder is not None:
                self._starts_over |= self._folder.has_started_over
            self._store.ask(self._runs.opened)
            self._study = study
            self._owe_what_was_kept()
        if self._folder is not None:
            self._folder.begin(self.tracking_uri, settings)
        self._begin(OneWriter("settings", partial(self._show_settings, self._runs, study, tags)))

    def reconcile(self, finished: Collection[str], interrupted: Collection[str]) -> None:
        """End the runs that a killed driver left, and leave one for each trial (`RecordedRuns.reconcile`).

        Raises:
            TrackingError: If MLflow fails.
        """
        self._runs.reconcile_with(finished, interrupted)
        self._store.ask(self._runs.opened)

    def missing(self, ended: Mapping[str, int]) -> set[str]:
        """Return the ended trials without a run that says so and has their last epoch, and without one on its way."""
        on_their_way = set(self._outbox.owed())
        return {
            trial_id
            for trial_id, epochs in ended.items()
            if trial_id in self._open
            or not (name_of(trial_id) in on_their_way or self._runs.recorded.holds(trial_id, epochs))
        }

    def start_trial(self, trial: Trial) -> None:
        """Make the trial's run; an earlier one of the same trial goes to MLflow's trash."""
        writer = self._open[trial.trial_id] = TrialWriter(trial, self._runs)
        self._begin(writer)

    def epoch(self, report: EpochReport) -> None:
        """Record metrics at the step `examples_seen`, sent at once or together with those of the next epochs."""
        writer = self._open[report.trial_id]
        writer.add(report)
        pause_s = max(_PAUSE_S, _PAUSE_PER_TRIAL_S * len(self._open))
        self._owe(writer, writer.written_at + pause_s)

    def end_trial(self, outcome: TrialOutcome) -> None:
        """Record what was measured once, why the trial did not complete, and MLflow's own status."""
        writer = self._open.pop(outcome.trial_id)
        writer.end(outcome)
        self._owe(writer)

    def measured(self, measurement: Measurement) -> None:
        """Make a run of stage "measurement"; an earlier one of the same name goes to MLflow's trash."""
        self._owe_document(MeasurementDocument(measurement))

    def recommended(
        self,
        recommendation: Mapping[str, Any],
        markdown: str,
        files: Files | None = None,
        deciding: Deciding | None = None,
    ) -> None:
        """Write the run named "recommendation", in place of an earlier one, and mark the runs that decided.

        It holds `recommendation.json`, `report.md` and `files`; `markdown` also becomes the experiment's description.
        """
        contents = {
            "recommendation.json": json.dumps(recommendation, indent=2, default=str),
            "report.md": markdown,
            **(files or {}),
        }
        self._owe_document(RecommendationDocument(markdown, contents, deciding or {}))

    def close(self, *, patience_s: float | None = None) -> None:
        """Wait a while until everything has been delivered; warn (`TrackingWarning`) of what has not, and how it will.

        Args:
            patience_s: How long; None for 10 s with a server, and 60 s with a file. A store that fails again and again
                is not waited for.
        """
        if patience_s is None:
            patience_s = _PATIENCE_S if sqlite_path(self.tracking_uri) is None else _PATIENCE_WITH_FILES_S
        try:
            self._thread.flush(patience_s)
            self._thread.stop(_GRACE_S)
        finally:
            self._thread.stop()
            self._study = ""
        if self._folder is not None and not (len(self._outbox) or self._outbox.refused or self._open):
            self._folder.clear()
        self._warnings.at_the_end()

    def _open_experiment(self, study: str, tags: Mapping[str, str], client: MlflowClient) -> str:
        if self._starts_over:
            experiments.set_aside(client, study)
            self._starts_over = False
            if self._folder is not None:
                self._folder.has_set_aside()
        return experiments.open_experiment(client, study, tags)

    @staticmethod
    def _show_settings(runs: StudyRuns, study: str, tags: Mapping[str, str]) -> None:
        experiments.show(runs.opened(), runs.experiment_id, study, tags)

    def _begin(self, writer: RunWriter) -> None:
        """Let a writer write; whatever is owed under its name is not."""
        self._outbox.begin_anew(writer.name)
        self._owe(writer)

    def _owe(self, writer: RunWriter, due: float = -math.inf) -> None:
        self._outbox.owe(writer, due)
        self._thread.wake()
        self._warnings.of_trouble()

    def _owe_document(self, document: Document) -> None:
        kept = None if self._folder is None else self._folder.keep(document)
        self._begin(self._writer_of(document, kept))

    def _owe_what_was_kept(self) -> None:
        for kept, document in self._folder.documents() if self._folder is not None else ():
            self._begin(self._writer_of(document, kept))

    def _writer_of(self, document: Document, kept: Path | None) -> OneWriter:
        runs = self._runs
        if isinstance(document, RecommendationDocument):
            runs.deciding = document.deciding  # for runs of trials that are still on their way
        return OneWriter(document.name, lambda: document.write(runs.opened(), runs.experiment_id), kept)


def _view(*, has_target: bool) -> View:
    return View(layout.TRIAL_ID, layout.STATUS, layout.DECIDES, layout.ANSWER, has_target)


def _tags_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a study's experiment."""
    tags = {f"{layout.SETTINGS}{name}": value for name, value in settings.items()}
    if "objective" in settings:
        metric = layout.clean_name(settings["objective"])
        tags |= view_tags(metric, _view(has_target=layout.TARGET in settings))
    return tags | EXPERIMENT_KIND


def dataset_of(study: str, settings: Mapping[str, str]) -> DatasetInput | None:
    """Return what the runs of a study's trials have been trained on, for MLflow's own field of data.

    Args:
        study: Its name, by which MLflow lists the data.
        settings: Of the study; the one called "data" ends with the digest, as `tell_data` writes it.

    Returns:
        None where the settings do not tell.
    """
    examples, _, digest = settings.get("data", "").rpartition(", ")
    if not examples:
        return None
    source = json.dumps({"command": settings.get("command", "")})
    data = Dataset(study, digest, source_type="local", source=source, profile=json.dumps({"examples": examples}))
    return DatasetInput(data, [InputTag("mlflow.data.context", "training")])
