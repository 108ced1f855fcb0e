"""TensorBoardTracker: a study as TensorBoard reads it, a run per trial, with its HParams plugin; an extra brings it."""

from __future__ import annotations

import datetime
import json
import math
import os
import shutil
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tuning.messages import Measurement
from tuning.record.layout import clean_name, epoch_values, trial_params
from tuning.record.store import TrackingError
from tuning.record.tracker import Deciding, Files
from tuning.trial import EpochReport, HyperparameterValue, Status, Trial, TrialOutcome

_DONE = "ended.json"
_VERSION = "brain.Event:2"


class TensorBoardTracker:
    """Records a study in TensorBoard's files, as a `Tracker`; look at it by `tensorboard --logdir FOLDER`.

    A trial is a run of the HParams plugin. The *step of a scalar is the number of training examples seen*, so that
    curves compare batch sizes at equal examples. Nothing of TensorFlow is loaded.

    Args:
        folder: Where studies go, a folder each.

    Raises:
        TrackingError: If the package tensorboard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        _check_installed()
        self._folder = Path(folder)
        self._study = ""
        self._open: dict[str, tuple[_EventFile, list[EpochReport]]] = {}

    @property
    def tracking_uri(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def experiment_id(self) -> str:
        """The study's name; empty before `start_study`."""
        return self._study

    def prepare(self) -> None:
        """Do nothing: beginning takes no time."""

    def fresh(self, study: str) -> None:
        """Rename the study's folder to "STUDY (until DATE TIME)"."""
        place = self._folder / study
        if place.exists():
            until = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
            place.rename(self._folder / f"{study} (until {until})")

    def start_study(self, study: str, settings: Mapping[str, str]) -> None:
        """Make the study's folder, and keep what was asked for as `settings.json`."""
        self._study = study
        place = self._folder / study
        place.mkdir(parents=True, exist_ok=True)
        (place / "settings.json").write_text(json.dumps(dict(settings), indent=2), encoding="utf-8")

    def reconcile(self, finished: Collection[str], interrupted: Collection[str]) -> None:  # noqa: ARG002
        """Remove the runs of trials that run again."""
        for trial_id in interrupted:
            shutil.rmtree(self._place(trial_id), ignore_errors=True)

    def missing(self, ended: Mapping[str, int]) -> set[str]:
        """Return the ended trials without a run that has their last epoch."""
        return {trial_id for trial_id, epochs in ended.items() if self._recorded_epochs(trial_id) < epochs}

    def start_trial(self, trial: Trial) -> None:
        """Begin the trial's run, in place of an earlier one."""
        place = self._place(trial.trial_id)
        shutil.rmtree(place, ignore_errors=True)
        file = _EventFile(place)
        file.begin_session(trial_params(trial), trial.trial_id)
        self._open[trial.trial_id] = file, []

    def epoch(self, report: EpochReport) -> None:
        """Record scalars at the step `examples_seen`."""
        file, reports = self._open[report.trial_id]
        file.scalars(epoch_values(report, reports[-1] if reports else None), report.examples_seen)
        reports.append(report)

    def end_trial(self, outcome: TrialOutcome) -> None:
        """Record what was measured once, and how the trial ended."""
        file, reports = self._open.pop(outcome.trial_id)
        once = dict(outcome.measurements) | {
            "peak_memory_bytes": outcome.peak_memory_bytes,
            "seconds": outcome.seconds,
            "compile_seconds": outcome.compile_seconds,
        }
        last = reports[-1] if reports else None
        file.scalars({name: float(value) for name, value in once.items() if value is not None}, 0)
        file.end_session(completed=outcome.status is Status.COMPLETED)
        ended = {"status": outcome.status, "reason": outcome.reason, "epochs": last.epoch if last else 0}
        _write_whole(self._place(outcome.trial_id) / _DONE, json.dumps(ended))

    def measured(self, measurement: Measurement) -> None:
        """Make a run of the measurement, in place of an earlier one of its name."""
        place = self._folder / self._study / f"measurement {clean_name(measurement.name)}"
        shutil.rmtree(place, ignore_errors=True)
        file = _EventFile(place)
        file.scalars(measurement.values, 0)
        for name, value, step in measurement.series:
            file.scalars({name: value}, step)
        file.close()

    def recommended(
        self,
        recommendation: Mapping[str, Any],
        markdown: str,
        files: Files | None = None,
        deciding: Deciding | None = None,  # noqa: ARG002  (TensorBoard has no views to mark runs for)
    ) -> None:
        """Write `recommendation.json`, `report.md` and the files into the folder `recommendation` of the study."""
        place = self._folder / self._study / "recommendation"
        place.mkdir(exist_ok=True)
        texts = {"recommendation.json": json.dumps(recommendation, indent=2, default=str), "report.md": markdown}
        for name, content in {**texts, **(files or {})}.items():
            (place / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def close(self) -> None:
        """Do nothing: every event has been written."""

    def _place(self, trial_id: str) -> Path:
        return self._folder / self._study / f"trial {trial_id}"

    def _recorded_epochs(self, trial_id: str) -> int:
        """Return the last epoch of a trial's complete run; -1 if it has none."""
        try:
            return int(json.loads((self._place(trial_id) / _DONE).read_text(encoding="utf-8"))["epochs"])
        except (OSError, ValueError, KeyError):
            return -1


class _EventFile:
    """A file of events, as TensorBoard reads it; each is written at once.

    Args:
        folder: Where it lies; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._writer = RecordWriter((folder / f"events.out.tfevents.{time.time_ns()}").open("wb"))
        self._write(file_version=_VERSION)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars; one that is not finite is left out, since TensorBoard draws none."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items() if math.isfinite(value)]
        if found:
            self._write(summary=Summary(value=found), step=step)

    def begin_session(self, hparams: Mapping[str, HyperparameterValue], name: str) -> None:
        """Tell the HParams plugin what a trial is trained with."""
        from tensorboard.plugins.hparams import metadata, plugin_data_pb2

        info = plugin_data_pb2.SessionStartInfo(group_name=name, start_time_secs=time.time())
        for key, value in hparams.items():
            kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
            setattr(info.hparams[key], f"{kind}_value", value)
        self._session(metadata.SESSION_START_INFO_TAG, session_start_info=info)

    def end_session(self, *, completed: bool) -> None:
        """Tell the HParams plugin how a trial ended, and close the file."""
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        status = api_pb2.STATUS_SUCCESS if completed else api_pb2.STATUS_FAILURE
        info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
        self._session(metadata.SESSION_END_INFO_TAG, session_end_info=info)
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _session(self, tag: str, **data: Any) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import metadata, plugin_data_pb2

        described = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**data))
        value = Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)
        self._write(summary=Summary(value=[value]))

    def _write(self, **event: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **event).SerializeToString())
        self._writer.flush()


def _check_installed() -> None:
    try:
        import tensorboard.plugins.hparams.plugin_data_pb2  # noqa: F401
    except ModuleNotFoundError:
        raise TrackingError(
            "TensorBoardTracker needs the package tensorboard, which TensorFlow does not bring; got none. Install the "
            "extra: pip install 'batch-size-tuner[tensorboard]'."
        ) from None


def _write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
