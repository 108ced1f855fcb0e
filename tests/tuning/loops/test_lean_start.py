"""What a worker leaves out of its imports, and that all of it is there when it is used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tuning.run.executor import worker_environment

_CODE = """
import os, sys
from tuning.loops.lean_start import import_keras
import_keras()
import tuning.loops.session
print(*sorted({"sklearn", "scipy.stats", "scipy.optimize", "matplotlib.image"} & set(sys.modules)), sep=",")
import keras, keras_tuner
print(keras_tuner.HyperParameters().Int("n", 1, 3))
print(keras.wrappers.SKLearnClassifier.__name__, "sklearn" in sys.modules)
import matplotlib.pyplot, scipy.optimize
print(matplotlib.pyplot.figure.__name__, scipy.optimize.minimize.__name__)
import tensorflow as tf
tf.function(lambda x: x * x, jit_compile=True)(tf.constant([1.0, 2.0]))
print(len(os.listdir(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    programs = tmp_path_factory.mktemp("programs")
    placed = worker_environment("cpu:0", 1, programs)
    command = [sys.executable, "-c", _CODE, str(programs / "1")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **placed})
    return done.stdout.splitlines()


def test_a_worker_starts_without_what_no_training_uses(printed: list[str]) -> None:
    assert printed[:2] == ["", "1"]


def test_what_was_left_out_is_there_when_it_is_used(printed: list[str]) -> None:
    assert printed[2:4] == ["SKLearnClassifier True", "figure minimize"]


def test_a_worker_leaves_what_xla_compiles_for_others(printed: list[str]) -> None:
    assert printed[4] == "1"
