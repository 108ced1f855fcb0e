"""With MLflow's autologging on, a training of ours makes no run of its own, and what was on stays on."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import keras
import mlflow
import numpy as np
import pytest

from search_spaces import Data
from search_spaces.space import Setting
from tuning.instructions import Budget
from tuning.loops.final_fit import FinalFit
from tuning.loops.session import TrainingSession
from tuning.trial import Status, Trial

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
DATA = Data(X, X[:, :1], X, X[:, :1])
TRIAL = Trial(Setting(8, 0.01), 0, budget=Budget(1), trial_id="0")


def build() -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def autologging(migrated_store: Path, tmp_path: Path) -> Iterator[mlflow.MlflowClient]:
    """MLflow as a notebook has it that says `mlflow.keras.autolog()`; a fit of its own would be a run."""
    shutil.copy(migrated_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.keras.autolog(log_models=False, silent=True)
        yield mlflow.MlflowClient(uri)
        mlflow.keras.autolog(disable=True, silent=True)
    mlflow.set_tracking_uri(None)


def test_a_trial_and_a_final_training_are_in_no_run_of_autologging(
    autologging: mlflow.MlflowClient, tmp_path: Path
) -> None:
    session = TrainingSession(lambda _: build(), DATA)
    assert session.train(TRIAL, lambda report: True).status is Status.COMPLETED
    FinalFit(TRIAL, tmp_path / "model.keras").run(build(), DATA, verbose=0)
    assert autologging.search_runs(["0"]) == []
    build().fit(X, X[:, :1], verbose=0)
    assert len(autologging.search_runs(["0"])) == 1  # of one's own
