"""The same study, whether the command line starts it or a tuner: both know the same hyperparameters."""

from __future__ import annotations

from typing import Any

import keras_tuner
import numpy as np
import pytest
from declarations import declared
from fakes import description

from search_spaces import BatchSize, Data
from search_spaces.entry import entries_of
from tuning.objective import Objective
from tuning.oracle import StudyOracle
from tuning.search.method import DeclaredHyperparameters
from tuning.search.options import SearchArguments
from tuning.search.preparation import Setup, resolve_space, settings_of
from tuning.study.study import Study


@pytest.mark.parametrize(
    "face", [DeclaredHyperparameters(), StudyOracle(Study("s"))], ids=lambda each: type(each).__name__
)
def test_both_faces_tell_the_hyperparameters_apart_alike(face: Any) -> None:
    model = description(entries=entries_of(declared().space))
    entries = face.learn(model)
    space = resolve_space(model, entries, batch_size=BatchSize.of(8), learning_rate=None, n_train=64)
    x = np.zeros((64, 2), "float32")
    setup = Setup(SearchArguments(Data(x, x[:, 0], x, x[:, 0]), epochs=1), model, Objective("loss", "min"), space)
    digest = settings_of("grid", setup, seeds=1, loop="auto")["hyperparameters"]
    assert digest == "af1fad01296e"  # as studies hold it since there are studies, which go on by it
    told = [entry.config for entry in entries_of(declared().space)]
    assert [entry.config for entry in model.entries] == told  # KerasTuner changes what it reads


def test_a_tuner_tells_the_worker_what_it_overrides_and_keeps_it() -> None:
    own = keras_tuner.HyperParameters()
    own.Fixed("units", 16)
    oracle = StudyOracle(Study("s"), hyperparameters=own)
    assert oracle.known()["values"] == {"units": 16}
    learnt = oracle.learn(description(entries=entries_of(declared().space)))
    assert [entry.values for entry in learnt if entry.name == "units"] == [(16,)]
    assert {entry.name for entry in learnt} == {entry.name for entry in entries_of(declared().space)}
    assert DeclaredHyperparameters().known() == {}
