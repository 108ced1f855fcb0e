"""What a worker leaves out of its imports, and that all of it is there when it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CODE = """
import sys
from tuning.loops.lean_start import import_keras
import_keras()
import tuning.loops.session
print(*sorted({"sklearn", "scipy.stats", "scipy.optimize", "matplotlib.image"} & set(sys.modules)), sep=",")
import keras, keras_tuner
print(keras_tuner.HyperParameters().Int("n", 1, 3))
print(keras.wrappers.SKLearnClassifier.__name__, "sklearn" in sys.modules)
import matplotlib.pyplot, scipy.optimize
print(matplotlib.pyplot.figure.__name__, scipy.optimize.minimize.__name__)
"""


@pytest.fixture(scope="module")
def printed() -> list[str]:
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_worker_starts_without_what_no_training_uses(printed: list[str]) -> None:
    assert printed[:2] == ["", "1"]


def test_what_was_left_out_is_there_when_it_is_used(printed: list[str]) -> None:
    assert printed[2:] == ["SKLearnClassifier True", "figure minimize"]
