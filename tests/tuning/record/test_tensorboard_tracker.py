"""A study in TensorBoard's files: the contract of trackers, and what TensorBoard itself reads of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tracker_contract import TrackerContract
from tracker_helpers import SETTINGS, log_trial, planned

from tuning.record.store import TrackingError
from tuning.record.tensorboard_tracker import TensorBoardTracker
from tuning.record.tracker import Tracker
from tuning.trial import Status, TrialOutcome


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(TrackingError, match=r"batch-size-tuner\[tensorboard\]"):
        TensorBoardTracker(tmp_path)


class TestTensorBoardTracker(TrackerContract):
    @pytest.fixture
    def tracker(self, tmp_path: Path) -> Tracker:
        pytest.importorskip("tensorboard", reason="tensorboard, of the extra of that name, is not installed")
        return TensorBoardTracker(tmp_path / "logs")


# In a process of its own, because TensorBoard's reader loads TensorFlow where it finds it.
READ = """
import json, sys
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import metadata
from pathlib import Path
found = {"scalars": [], "start": {}, "end": None}
for path in Path(sys.argv[1]).glob("events.*"):
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            if value.tag == metadata.SESSION_START_INFO_TAG:
                info = metadata.parse_session_start_info_plugin_data(value.metadata.plugin_data.content)
                found["start"] = {name: getattr(v, v.WhichOneof("kind")) for name, v in info.hparams.items()}
            elif value.tag == metadata.SESSION_END_INFO_TAG:
                found["end"] = metadata.parse_session_end_info_plugin_data(value.metadata.plugin_data.content).status
            else:
                found["scalars"].append([value.tag, event.step, round(value.tensor.float_val[0], 4)])
print(json.dumps(found))
"""


def test_tensorboard_reads_settings_curves_and_how_trials_ended(tmp_path: Path) -> None:
    import json

    pytest.importorskip("tensorboard", reason="tensorboard, of the extra of that name, is not installed")
    tracker = TensorBoardTracker(tmp_path)
    tracker.start_study("digits", SETTINGS)
    log_trial(tracker, "0")
    tracker.start_trial(planned("1"))
    tracker.end_trial(TrialOutcome("1", Status.OUT_OF_MEMORY, "no memory"))
    read = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", READ, str(tmp_path / "digits" / f"trial {name}")],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for name in ("0", "1")
    ]
    assert read[0]["start"] == {"batch_size": 32, "learning_rate": 0.001, "units": 64, "seed": 0, "epochs": 2}
    assert ["val_accuracy", 2000, 0.8] in read[0]["scalars"]
    assert [each["end"] for each in read] == [1, 2]  # STATUS_SUCCESS, STATUS_FAILURE


def test_a_tracker_loads_no_tensorflow(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard, of the extra of that name, is not installed")
    code = (
        "import sys\nfrom tuning.record.tensorboard_tracker import TensorBoardTracker as T\n"
        f"t = T({str(tmp_path)!r})\nt.start_study('s', {{}})\n"
        "from tuning.messages import Measurement\nt.measured(Measurement('m', values={'a': 1.0}))\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
