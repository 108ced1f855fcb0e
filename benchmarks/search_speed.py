"""The same grid by KerasTuner, by Optuna around `model.fit`, and by this project: wall time and validation metrics.

    python benchmarks/search_speed.py                     # all three models, about half an hour on 2 cores
    python benchmarks/search_speed.py mlp --examples 6000 # one model, fewer examples
    python benchmarks/search_speed.py cnn --seeds 3       # as many trainings of each batch size as `grid` makes

Every peer trains the same models on the same arrays at the same learning rates, one trial after the other, for the
same epochs. Images are MNIST (`../shared/data/mnist_60k_3k.npz`), or scikit-learn's digits, enlarged and repeated,
where that file is absent. Timings hold imports out and everything else in: starting workers, building, compiling,
logging to MLflow (this project only), and KerasTuner's files; those "with imports" are of the whole process. The
machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
MNIST = ROOT.parent / "shared" / "data" / "mnist_60k_3k.npz"
BATCH_SIZES = (4, 16, 64, 256, 1024, 4096)
EXAMPLES = {"mlp": 60_000, "cnn": 8_192, "lstm": 8_192}
EPOCHS = 5
PEERS = ("keras_tuner", "optuna", "batch_size")


def load_images(examples: int) -> tuple[Any, Any, Any, Any]:
    """Grey values in 0..1, `(n, 28, 28) float32`."""
    if MNIST.exists():
        with np.load(MNIST) as archive:
            x, y = archive["x_train"][:examples], archive["y_train"][:examples]
            x_val, y_val = archive["x_test"], archive["y_test"]
        return (x / 255).astype("float32"), y.astype("int32"), (x_val / 255).astype("float32"), y_val.astype("int32")
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.pad(np.kron(digits.images / 16, np.ones((3, 3))), ((0, 0), (2, 2), (2, 2))).astype("float32")
    rows = np.resize(np.arange(300, len(images)), examples)
    return images[rows], digits.target[rows].astype("int32"), images[:300], digits.target[:300].astype("int32")


def build_mlp() -> Any:
    import keras

    return compiled([keras.layers.Flatten(), keras.layers.Dense(128, activation="relu")])


def build_cnn() -> Any:
    import keras

    return compiled(
        [
            keras.layers.Reshape((28, 28, 1)),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def build_lstm() -> Any:
    import keras

    return compiled([keras.layers.LSTM(32)])


def compiled(layers: list[Any]) -> Any:
    import keras

    model = keras.Sequential([keras.Input((28, 28)), *layers, keras.layers.Dense(10, activation="softmax")])
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


Trials = dict[int, tuple[float, float]]
"""By batch size the seconds of its trainings together, and the mean of their final validation accuracies."""

MODELS: dict[str, Callable[[], Any]] = {"mlp": build_mlp, "cnn": build_cnn, "lstm": build_lstm}


def learning_rate(batch_size: int) -> float:
    return float(1e-3 * (batch_size / 32) ** 0.5)


def by_keras_tuner(
    build: Callable[[], Any], data: tuple[Any, ...], sizes: list[int], epochs: int, seeds: int
) -> Trials:
    """The usual way: `fit` overridden with `batch_size=hp.Choice(...)`."""
    import keras
    import keras_tuner

    class Model(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            hp.Choice("batch_size", sizes)
            return build()

        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            size = hp.get("batch_size")
            model.optimizer.learning_rate = learning_rate(size)
            fitted = model.fit(*args, batch_size=size, **kwargs)
            scores[size].append(fitted.history["val_accuracy"][-1])
            return fitted

    scores: dict[int, list[float]] = defaultdict(list)
    seconds: dict[int, float] = {}

    class Tuner(keras_tuner.GridSearch):
        def _configure_tensorboard_dir(self, *_: Any) -> None:
            """keras-tuner 1.4.8 fails every trial here where tensorboard is not installed."""

        def on_trial_begin(self, _trial: Any) -> None:
            self.began = time.perf_counter()
            keras.utils.set_random_seed(0)  # once a trial: KerasTuner gives its executions no seeds of their own

        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            seconds[trial.hyperparameters.get("batch_size")] = time.perf_counter() - self.began

    x, y, x_val, y_val = data
    tuner = Tuner(Model(), objective="val_accuracy", directory=".", project_name="peer", executions_per_trial=seeds)
    tuner.search(x, y, validation_data=(x_val, y_val), epochs=epochs, verbose=0)
    return {size: (seconds[size], statistics.fmean(scores[size])) for size in sizes}


def by_optuna(build: Callable[[], Any], data: tuple[Any, ...], sizes: list[int], epochs: int, seeds: int) -> Trials:
    """A study whose objective calls `model.fit`."""
    import keras
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    x, y, x_val, y_val = data
    scores: dict[int, list[float]] = defaultdict(list)
    seconds: dict[int, float] = defaultdict(float)

    def objective(trial: optuna.Trial) -> float:
        size, began = trial.suggest_categorical("batch_size", sizes), time.perf_counter()
        keras.backend.clear_session()
        keras.utils.set_random_seed(len(scores[size]))
        model = build()
        model.optimizer.learning_rate = learning_rate(size)
        fitted = model.fit(x, y, batch_size=size, epochs=epochs, validation_data=(x_val, y_val), verbose=0)
        seconds[size] += time.perf_counter() - began
        scores[size].append(fitted.history["val_accuracy"][-1])
        return scores[size][-1]

    study = optuna.create_study(direction="maximize", storage="sqlite:///optuna.db")
    for size in sizes * seeds:
        study.enqueue_trial({"batch_size": size})
    study.optimize(objective, n_trials=len(sizes) * seeds)
    return {size: (seconds[size], statistics.fmean(scores[size])) for size in sizes}


def by_batch_size(build: Callable[[], Any], data: tuple[Any, ...], sizes: list[int], epochs: int, seeds: int) -> Trials:
    """This project, as its users call it."""
    from search_spaces import BatchSize
    from tuning import GridSearch
    from tuning.record.mlflow_tracker import MlflowTracker

    moments: dict[str, list[float]] = {}

    class Timed(MlflowTracker):
        def start_trial(self, trial: Any) -> None:
            moments[trial.trial_id] = [time.perf_counter()]
            super().start_trial(trial)

        def end_trial(self, outcome: Any) -> None:
            moments[outcome.trial_id].append(time.perf_counter())
            super().end_trial(outcome)

    x, y, x_val, y_val = data
    tuner = GridSearch(build, batch_size=BatchSize.of(*sizes), seeds=seeds, tracker=Timed(), keep_models=0)
    tuner.search(x, y, validation_data=(x_val, y_val), epochs=epochs, verbose=0)
    found: dict[int, list[Any]] = defaultdict(list)
    for record in tuner.oracle.records:
        began, ended = moments[record.trial_id]
        found[record.setting.batch_size].append((ended - began, record.score))
    return {
        size: (sum(each for each, _ in runs), statistics.fmean(score for _, score in runs))
        for size, runs in found.items()
    }


def run_peer(peer: str, model: str, examples: int, sizes: list[int], epochs: int, seeds: int) -> None:
    """In a process and a directory of its own; prints one JSON line."""
    for module in ("keras", "keras_tuner", "optuna", "tuning"):  # imports are held out of every peer's time
        importlib.import_module(module)
    data = load_images(examples)
    search = {"keras_tuner": by_keras_tuner, "optuna": by_optuna, "batch_size": by_batch_size}[peer]
    began = time.perf_counter()
    found = search(MODELS[model], data, sizes, epochs, seeds)
    wall = time.perf_counter() - began
    print("RESULT " + json.dumps({"wall": wall, "trials": {str(size): value for size, value in found.items()}}))


def measure(peer: str, model: str, examples: int, sizes: list[int], epochs: int, seeds: int) -> dict[str, Any]:
    arguments = [peer, model, str(examples), ",".join(map(str, sizes)), str(epochs), str(seeds)]
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [sys.executable, __file__, "--peer", *arguments],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"{peer} failed on {model}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return {**found, "process": time.perf_counter() - begin}


def report(model: str, examples: int, sizes: list[int], epochs: int, results: dict[str, dict[str, Any]]) -> None:
    ours = results["batch_size"]
    print(f"\n{model}: {examples:,} examples, {epochs} epochs")
    titles = f"{'':14s}{'wall s':>9s}{'ratio':>8s}{'with imports':>14s}{'ratio':>8s}"
    print(f"{titles}   speed-up of the trials at batch " + ", ".join(map(str, sizes)))
    for peer, found in results.items():
        each = [found["trials"][str(size)][0] / ours["trials"][str(size)][0] for size in sizes]
        told = "  ".join(f"{ratio:.2f}" for ratio in each)
        walls = f"{found['wall']:9.1f}{found['wall'] / ours['wall']:8.2f}"
        whole = f"{found['process']:14.1f}{found['process'] / ours['process']:8.2f}"
        print(f"{peer:14s}{walls}{whole}   {told}")
    for peer, found in results.items():
        if peer != "batch_size":
            gaps = {size: found["trials"][str(size)][1] - ours["trials"][str(size)][1] for size in sizes}
            most = max(gaps, key=lambda size: abs(gaps[size]))
            scores = f"{ours['trials'][str(most)][1]:.4f} and {found['trials'][str(most)][1]:.4f}"
            print(f"final validation accuracies differ most from {peer} at batch {most}: {scores}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL", help="mlp, cnn, lstm")
    parser.add_argument("--examples", type=int)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each batch size (1)")
    parser.add_argument("--peers", nargs="+", choices=PEERS[:2], default=PEERS[:2], metavar="PEER")
    parser.add_argument("--batch-sizes", default=",".join(map(str, BATCH_SIZES)))
    arguments = parser.parse_args()
    sizes = [int(word) for word in arguments.batch_sizes.split(",")]
    for model in arguments.models:
        examples = arguments.examples or EXAMPLES[model]
        usable = [size for size in sizes if size <= examples]
        plan = (model, examples, usable, arguments.epochs)
        report(*plan, {peer: measure(peer, *plan, arguments.seeds) for peer in (*arguments.peers, PEERS[2])})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        sizes = [int(word) for word in sys.argv[5].split(",")]
        run_peer(sys.argv[2], sys.argv[3], int(sys.argv[4]), sizes, int(sys.argv[6]), int(sys.argv[7]))
    else:
        main()
