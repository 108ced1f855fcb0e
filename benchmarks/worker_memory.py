"""Does a worker grow? Its resident memory over hundreds of short trials, in one process.

    python benchmarks/worker_memory.py                # 200 trials
    python benchmarks/worker_memory.py --trials 50

Trials go round batch sizes, seeds, learning rates and widths of the hidden layer on scikit-learn's digits, so that
programs are reused, dropped and compiled anew, as in a search. The growth is told from the 20th trial on, by when
TensorFlow, its thread pools and the first programs have been loaded.
"""

from __future__ import annotations

import argparse
import statistics

import psutil
from rich.progress import track

from search_spaces import load_workload
from search_spaces.space import Setting, as_pairs
from tuning.instructions import Budget
from tuning.loops.session import TrainingSession
from tuning.trial import Status, Trial

BATCH_SIZES = (8, 16, 32, 64, 128, 256)
WIDTHS = (16, 32, 64, 128)
WARM_UP = 20


def build_model(hp):
    import keras

    width = hp.Choice("width", list(WIDTHS))
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(width, activation="relu"), keras.layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def resident_bytes(trials: int, widths: int) -> list[int]:
    """After each trial; `widths` architectures take turns."""
    session, process, found = TrainingSession(build_model, load_workload("digits").load_data()), psutil.Process(), []
    for index in track(range(trials), description=f"{widths} architecture(s)"):
        size = BATCH_SIZES[index % len(BATCH_SIZES)]
        width = WIDTHS[index // len(BATCH_SIZES) % widths]
        setting = Setting(size, 1e-3 * (1 + index % 5), as_pairs({"width": width}))
        trial = Trial(setting, seed=index, budget=Budget(epochs=2), trial_id=str(index))
        outcome = session.train(trial, lambda _: True)
        if outcome.status is not Status.COMPLETED:
            raise SystemExit(outcome.reason)
        found.append(process.memory_info().rss)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    if trials <= WARM_UP + 10:
        parser.error(f"--trials must be more than {WARM_UP + 10}; got {trials}.")
    for widths in (1, len(WIDTHS)):
        found = resident_bytes(trials, widths)
        early, late = statistics.median(found[WARM_UP : WARM_UP + 5]), statistics.median(found[-5:])
        print(
            f"{widths} architecture(s), {trials} trials: {early / 2**20:.0f} MiB after {WARM_UP}, "
            f"{late / 2**20:.0f} MiB at the end: {100 * (late / early - 1):+.1f} %"
        )


if __name__ == "__main__":
    main()
