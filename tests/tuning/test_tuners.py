"""The tuners as KerasTuner's users know them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest
from fakes import RecordingTracker, ScriptedExecutor
from fakes_executor import OTHER_MACHINE, OtherMachineExecutor

import tuning
from search_spaces import BatchSize, Data, LearningRate, load_workload
from tuning.messages import Throughput
from tuning.run.executor import WorkerSetup
from tuning.run.facts import this_process
from tuning.search.options import SearchArguments

SCRIPT = """
import keras
import numpy as np
from search_spaces import BatchSize
from tuning import GridSearch

def build_model(hp):
    model = keras.Sequential([keras.layers.Dense(hp.Choice("units", [4, 8]), activation="relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-2, sampling="log")), "mse", metrics=["mae"])
    return model

x = np.random.default_rng(0).normal(size=(200, 3)).astype("float32")
y = x.sum(axis=1)
tuner = GridSearch(build_model, objective="val_mae", max_trials=4, executions_per_trial=1, overwrite=True,
                   directory="work", project_name="habits", batch_size=BatchSize.of(10, 50))
tuner.search_space_summary()
tuner.search(x, y, validation_data=(x, y), epochs=3)
tuner.results_summary()
best = tuner.get_best_hyperparameters()[0]
model = tuner.get_best_models()[0]
print("BEST", best.get("units"), best.get("batch_size"), model.predict(x[:2], verbose=0).shape)
print("SCORE", tuner.oracle.get_best_trials()[0].score, model.evaluate(x, y, verbose=0)[1])
"""


def test_a_script_without_a_main_guard_works_with_only_names_changed(tmp_path: Path, mlflow_store: Any) -> None:
    mlflow_store(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "units" in done.stdout
    assert "(2, 1)" in next(line for line in done.stdout.splitlines() if line.startswith("BEST"))
    _, score, evaluated = next(line for line in done.stdout.splitlines() if line.startswith("SCORE")).split()
    assert float(score) == pytest.approx(float(evaluated), rel=1e-3)


def small_model(hp: Any) -> Any:
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def small_data(n: int = 64) -> Data:
    x = np.random.default_rng(0).normal(size=(n, 2)).astype("float32")
    return Data(x, x.sum(axis=1), x, x.sum(axis=1))


@pytest.fixture
def tracker() -> RecordingTracker:
    return RecordingTracker()


def test_a_grid_of_one_process_ends_in_an_answer(tmp_path: Path, tracker: RecordingTracker) -> None:
    tuner = tuning.GridSearch(
        small_model,
        batch_size=BatchSize.of(1, 8, "full"),
        seeds=2,
        directory=tmp_path,
        tracker=tracker,
        in_process=True,
    )
    tuner.search(small_data(), epochs=2, verbose=0)
    assert [row.batch_size for row in tuner.answer.recommendation.table] == [1, 8, 64]
    assert [row.learning_rate for row in tuner.recommend().table] == pytest.approx([0.01 / 32, 0.01 / 4, 0.02])
    assert tracker.recommendation["recommended_batch_size"] == tuner.recommend().batch_size
    assert tuner.oracle.objective.name == "val_loss"
    assert len(list((tmp_path / "small_model-grid" / "weights").iterdir())) == 5


def test_a_search_on_another_machine_is_one_on_this_but_for_its_facts(tmp_path: Path) -> None:
    far, home, data = tmp_path / "far", tmp_path / "home", small_data()
    far.mkdir()
    sizes, seeds = BatchSize.of(8, 32), 2
    scores, machines, own = [], [], this_process()
    for name in ("elsewhere", "here"):
        tracker = RecordingTracker()
        tuner = tuning.GridSearch(
            small_model,
            batch_size=sizes,
            seeds=seeds,
            directory=home,
            project_name=name,
            tracker=tracker,
            in_process=True,
            loop="keras",
        )
        weights = home.resolve() / name / "weights"
        setup = WorkerSetup(small_model, data, weights_directory=weights)
        executor = OtherMachineExecutor(setup, far) if name == "elsewhere" else None
        tuner.search(data.x_train, data.y_train, validation_data=(data.x_val, data.y_val), epochs=2, executor=executor)
        machines.append(tracker.settings["versions"].splitlines()[0])
        scores.append({(trial.batch_size, trial.seed): trial.score for trial in tuner.oracle.records})
        assert tuner.get_best_models()[0].predict(data.x_val[:2], verbose=0).shape == (2, 1)
        assert not any(path.suffix == ".h5" for path in far.rglob("*"))
    assert scores[0] == scores[1]
    assert len(scores[0]) == 4
    assert machines == [f"machine {OTHER_MACHINE.kind}, 64 cores", f"machine {own.kind}, {own.cores} cores"]


def test_every_batch_size_starts_from_the_same_weights(tmp_path: Path, tracker: RecordingTracker) -> None:
    tuner = tuning.GridSearch(
        small_model,
        batch_size=BatchSize.of(8, 64),
        learning_rate=LearningRate.choices(1e-12),
        seeds=2,
        directory=tmp_path,
        tracker=tracker,
        in_process=True,
    )
    tuner.search(small_data(), epochs=1, verbose=0)
    losses = {(record.batch_size, record.seed): record.score for record in tuner.oracle.records}
    assert losses[8, 0] == pytest.approx(losses[64, 0], rel=1e-4)
    assert losses[8, 0] != pytest.approx(losses[8, 1], rel=1e-4)


def throughput(request: Any) -> Throughput:
    """Two hundred examples a second by plain fit, 800 by any other loop."""
    rate = 200 if request.loop == "keras" else 800
    return Throughput(request.trial_id, request.batch_size, request.loop, request.batch_size / rate)


def test_the_answer_says_how_to_train_the_final_model(tmp_path: Path, tracker: RecordingTracker) -> None:
    executor = ScriptedExecutor(lambda _: [0.5], probes=throughput)
    tuner = tuning.GridSearch(small_model, batch_size=BatchSize.of(8), seeds=2, directory=tmp_path, tracker=tracker)
    tuner.run(SearchArguments(small_data(), epochs=1, verbose=False), executor)
    assert tracker.recommendation["training"] == {
        "batch_size": 8,
        "loop": "device",
        "steps_per_execution": 45,
        "jit_compile": False,
        "examples_per_second": pytest.approx(800),
        "plain_fit_examples_per_second": pytest.approx(200),
        "threads": None,
    }
    assert "trains 200 examples per second" in tuner.answer.to_markdown()
    assert "4.0 times as many" in tuner.answer.to_markdown()


def test_a_loop_is_chosen_once_for_all_seeds(tmp_path: Path, tracker: RecordingTracker) -> None:
    executor, sizes = ScriptedExecutor(lambda _: [0.5], probes=throughput), BatchSize.of(8, 32)
    tuner = tuning.GridSearch(small_model, batch_size=sizes, seeds=2, directory=tmp_path, tracker=tracker)
    tuner.run(SearchArguments(small_data(), epochs=1, verbose=False), executor)
    assert [trial.instructions.loop for trial in executor.requests] == ["auto", "auto", "device", "device"]
    assert {trial.instructions.trainings for trial in executor.requests} == {2}


def test_a_grid_may_leave_its_seeds_to_what_they_are_worth(tmp_path: Path, tracker: RecordingTracker) -> None:
    def scores(trial: Any) -> list[float]:
        return [{8: 0.9, 32: 0.7, 64: 0.5}[trial.batch_size] + 0.001 * trial.seed]

    executor, sizes = ScriptedExecutor(scores, probes=throughput), BatchSize.of(8, 32, 64)
    tuner = tuning.GridSearch(small_model, batch_size=sizes, seeds="auto", directory=tmp_path, tracker=tracker)
    tuner.run(SearchArguments(small_data(), epochs=1, verbose=False), executor)
    assert len(executor.requests) == 6
    assert tuner.recommend().batch_size == 8
    assert not any("fewer seeds" in caveat for caveat in tuner.recommend().caveats)
    assert tracker.settings["judged_by_errors_of_examples_per_second"] == '{"8": 0.05, "32": 0.05, "64": 0.05}'


def test_bayes_searches_learning_rates_around_the_rule(tmp_path: Path, tracker: RecordingTracker) -> None:
    tuner = tuning.BayesianOptimization(
        small_model,
        max_trials=4,
        seeds=1,
        batch_size=BatchSize(8, 32),
        directory=tmp_path,
        tracker=tracker,
        in_process=True,
    )
    tuner.search(small_data(), epochs=1, verbose=0)
    for record in tuner.oracle.records:
        centre = 0.01 * record.batch_size / 32
        assert record.learning_rate is not None
        assert 0.1 <= record.learning_rate / centre <= 10
    assert len({record.setting for record in tuner.oracle.records}) == 4


def test_hyperparameters_of_the_caller_override_those_of_the_build(tmp_path: Path, tracker: RecordingTracker) -> None:
    def build(hp: Any) -> Any:
        import keras

        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(hp.Choice("units", [1, 2, 3])), keras.layers.Dense(1)]
        )
        model.compile("sgd", "mse")
        return model

    hp = keras_tuner.HyperParameters()
    hp.Fixed("units", 2)
    tuner = tuning.GridSearch(
        build,
        hyperparameters=hp,
        batch_size=BatchSize.of(8),
        seeds=1,
        directory=tmp_path,
        tracker=tracker,
        in_process=True,
    )
    tuner.search(small_data(), epochs=1, verbose=0)
    assert [dict(record.hyperparameters) for record in tuner.oracle.records] == [{"units": 2}]


def test_a_batch_size_in_search_is_refused(tmp_path: Path) -> None:
    tuner = tuning.GridSearch(small_model, directory=tmp_path)
    with pytest.raises(TypeError, match="takes no batch_size"):
        tuner.search(small_data(), batch_size=32)


def test_several_objectives_add_the_pareto_set_to_the_answer(tmp_path: Path, tracker: RecordingTracker) -> None:
    executor = ScriptedExecutor(lambda request: [0.5 + 0.1 * (request.batch_size == 8)], probes=throughput)
    tuner = tuning.GridSearch(
        small_model,
        objective="val_accuracy,peak_memory_bytes",
        batch_size=BatchSize.of(4, 8, 32),
        seeds=2,
        directory=tmp_path,
        tracker=tracker,
    )
    tuner.run(SearchArguments(small_data(), epochs=1, verbose=False), executor)
    pareto = tracker.recommendation["pareto"]
    assert pareto["objectives"] == ["val_accuracy", "peak_memory_bytes"]
    assert [setting["batch_size"] for setting in pareto["settings"]] == [4, 8]
    assert tracker.recommendation["recommended_batch_size"] in (4, 8, 32)


def test_an_unknown_option_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"workers.*got 'wrokers'"):
        tuning.GridSearch(small_model, directory=tmp_path, wrokers=2)


def test_there_is_no_answer_before_a_search(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="call search"):
        _ = tuning.GridSearch(small_model, directory=tmp_path).answer
    assert list(tmp_path.iterdir()) == []


def test_building_in_the_driver_never_happens(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        raise AssertionError("built in the driver")

    tuning.GridSearch(build, directory=tmp_path)


def test_the_package_offers_its_names_lazily() -> None:
    assert set(tuning.__all__) <= {name for name in tuning.__all__ if getattr(tuning, name) is not None}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tuning.nothing
    assert load_workload("digits").name == "digits"
