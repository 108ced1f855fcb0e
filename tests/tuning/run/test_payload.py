"""What travels by value: another process opens the payload without the files that it comes from."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from search_spaces import Data, Stream, load_workload
from tuning.run.executor import WorkerSetup
from tuning.run.wire import pickle_setup

ROOT = Path(__file__).parents[3]
DATA = Data([0.0], [0], [0.0], [0])
OPEN = (
    "import pickle, sys; hypermodel, callbacks, options, _, _ = pickle.loads(sys.stdin.buffer.read()); "
    "print(hypermodel(2), callbacks[0]() if callbacks else '', options)"
)


def opened(setup: WorkerSetup, directory: Path) -> str:
    """What a fresh process in a directory makes of a setup."""
    return subprocess.run(
        [sys.executable, "-P", "-c", OPEN], input=pickle_setup(setup), capture_output=True, check=True, cwd=directory
    ).stdout.decode()


def test_what_a_workload_file_defines_travels_by_value(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text("FACTOR = 21\ndef build(n):\n    return FACTOR * n\n")
    setup = WorkerSetup(load_workload(f"{file}:build").build, DATA, fit_options={"class_weight": None})
    file.unlink()
    assert opened(setup, tmp_path) == "42  {'class_weight': None}\n"


def test_so_does_what_only_wraps_it(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text("def build(n, factor):\n    return factor * n\n")
    build = functools.partial(load_workload(f"{tmp_path / 'file.py'}:build").build, factor=4)
    assert opened(WorkerSetup(build, DATA), tmp_path) == "8  {}\n"


def test_so_does_what_another_function_refers_to(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text("def build(n):\n    return 5 * n\n")
    build = load_workload(f"{tmp_path / 'file.py'}:build").build
    assert opened(WorkerSetup(lambda n: build(n) + 1, DATA), tmp_path) == "11  {}\n"


def test_so_do_the_factories_of_a_stream(tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text("def make(seed):\n    return 7 * seed\n")
    make = load_workload(f"{tmp_path / 'file.py'}:make").build
    payload = pickle_setup(WorkerSetup(print, Stream(make, make, n_train=3, n_val=1, identity="made up")))
    (tmp_path / "file.py").unlink()
    script = "import pickle, sys; *_, source, _ = pickle.loads(sys.stdin.buffer.read()); print(source.train(2))"
    done = subprocess.run([sys.executable, "-P", "-c", script], input=payload, capture_output=True, check=True)
    assert done.stdout == b"14\n"


@pytest.fixture
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a driver that has never imported Keras."""
    monkeypatch.delitem(sys.modules, "keras", raising=False)


@pytest.mark.usefixtures("nothing_registered")
def test_what_python_itself_brings_is_imported_there() -> None:
    payload = pickle_setup(WorkerSetup(Fraction(1, 2), DATA))
    assert b"fractions" in payload
    assert len(payload) < 200


def test_loose_modules_travel_by_value_and_the_callbacks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loose_model.py").write_text("def build(n):\n    return n + 1\ndef callback():\n    return 'called'\n")
    monkeypatch.syspath_prepend(tmp_path)
    loose_model = importlib.import_module("loose_model")

    setup = WorkerSetup(functools.partial(loose_model.build), DATA, callbacks=[loose_model.callback])
    assert opened(setup, ROOT) == "3 called {}\n"


def test_with_neighbours_what_is_loaded_from_the_folder_travels_too_for_a_machine_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "layers_of_mine").mkdir()
    (tmp_path / "layers_of_mine" / "__init__.py").write_text("")
    (tmp_path / "layers_of_mine" / "wide.py").write_text("def width(n):\n    return 3 * n\n")
    (tmp_path / "helper_of_mine.py").write_text("from layers_of_mine.wide import width\nWIDTH = width\n")
    (tmp_path / "file.py").write_text("import helper_of_mine\ndef build(n):\n    return helper_of_mine.WIDTH(n)\n")
    monkeypatch.syspath_prepend(tmp_path)
    setup = WorkerSetup(load_workload(f"{tmp_path / 'file.py'}:build").build, DATA)
    payload = pickle_setup(setup, with_neighbours=True)
    done = subprocess.run([sys.executable, "-P", "-c", OPEN], input=payload, capture_output=True, check=True, cwd=ROOT)
    assert done.stdout == b"6  {}\n"


@pytest.mark.usefixtures("nothing_registered")
def test_a_package_s_function_is_imported_there() -> None:
    payload = pickle_setup(WorkerSetup(load_workload("digits").build, DATA))
    assert b"search_spaces.digits" in payload
    assert len(payload) < 200


REGISTERS = """
import keras
from pathlib import Path
from search_spaces import Data
from tuning.run.executor import WorkerSetup
from tuning.run.wire import pickle_setup

@keras.saving.register_keras_serializable("mine")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x

model = keras.Sequential([keras.Input((2,)), Twice(), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.save("model.keras")

def build():
    import keras
    return keras.models.load_model("model.keras")

data = Data([[0.0, 1.0]], [0.0], [[0.0, 1.0]], [0.0])
Path("payload").write_bytes(pickle_setup(WorkerSetup(build, data)))
"""
LOADS = """
import pickle
from pathlib import Path
import keras
build, _, _, _, custom = pickle.loads(Path("payload").read_bytes())
keras.saving.get_custom_objects().update(custom)
print(type(build().layers[0]).__name__)
"""


def test_what_was_registered_with_keras_is_registered_there_too(tmp_path: Path) -> None:
    """A script's own layers, which no worker could import, so that saved models with them can be loaded."""
    (tmp_path / "script.py").write_text(REGISTERS)
    subprocess.run([sys.executable, "script.py"], check=True, cwd=tmp_path, capture_output=True)
    told = subprocess.run([sys.executable, "-c", LOADS], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert told.stdout.strip() == "Twice"
