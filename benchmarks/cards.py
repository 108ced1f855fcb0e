"""Does a training that several cards share come to the same losses as on one card?

    python benchmarks/cards.py                # on 1, 2 and 4 parts of the CPU, two minutes

Parts of the CPU, which TensorFlow shows as devices, stand in for cards; real ones add in another order. Each model
trains on the same examples in the same order, at the same batch size. The largest difference of a training or
validation loss at the end of any epoch is told. It should be below 1e-4 where the cards train alike, and is not where
the table says so: batch normalisation that sees one card alone, clipping of each card's part, and dropout.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from search_spaces import Data, Setting
from search_spaces.space import as_pairs
from tuning.instructions import Budget, Instructions
from tuning.run.executor import Executor, WorkerSetup
from tuning.run.local import LocalExecutor
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

CARDS = (1, 2, 4)
THREADS = 4  # with one, parts of the CPU wait long for each other where they add up
CASES = {
    "dense": "alike",
    "L2, AdamW with weight decay, cosine schedule": "alike",
    "moving averages of weights": "alike",
    "batch normalisation, synchronised": "alike",
    "batch normalisation": "each card by itself",
    "clipping by global norm": "each card by itself",
    "dropout": "other draws",
}
N_TRAIN, N_VAL, EPOCHS, BATCH_SIZE = 500, 151, 2, 32  # no epoch ends with a batch


def some_data() -> Data:
    x = np.random.default_rng(0).normal(size=(N_TRAIN + N_VAL, 12)).astype("float32")
    y = (x[:, :3].prod(axis=1) > 0).astype("int32")
    return Data(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:])


def build_model(hp: Any) -> Any:
    import keras

    case = hp.Choice("case", list(CASES))
    regulariser = "l2" if case.startswith("L2") else None
    layers = [keras.Input((12,)), keras.layers.Dense(32, activation="relu", kernel_regularizer=regulariser)]
    if case.startswith("batch"):
        layers.append(keras.layers.BatchNormalization(synchronized="synchronised" in case))
    if case == "dropout":
        layers.append(keras.layers.Dropout(0.3))
    model = keras.Sequential([*layers, keras.layers.Dense(2, activation="softmax")])
    model.compile(_optimizer(case), "sparse_categorical_crossentropy")
    return model


def _optimizer(case: str) -> Any:
    import keras

    if case.startswith("L2"):
        schedule = keras.optimizers.schedules.CosineDecay(0.01, EPOCHS * N_TRAIN // BATCH_SIZE)
        return keras.optimizers.AdamW(schedule, weight_decay=0.01)
    if case.startswith("clipping"):
        return keras.optimizers.SGD(0.1, global_clipnorm=0.1)
    return keras.optimizers.Adam(0.01, use_ema=case.startswith("moving"))


def epochs_of(executor: Executor, case: str) -> list[EpochReport]:
    """What the epochs of a training tell."""
    while not executor.devices():
        executor.events(timeout_s=10.0)
    setting = Setting(BATCH_SIZE, None, as_pairs({"case": case}))
    trial = Trial(setting, 0, budget=Budget(EPOCHS), trial_id=case, instructions=Instructions(loop="keras"))
    executor.submit(trial, executor.devices()[0].name)
    seen: list[Any] = []
    while not (seen and isinstance(seen[-1], TrialOutcome)):
        seen += executor.events(timeout_s=10.0)
    if seen[-1].status is not Status.COMPLETED:
        raise SystemExit(f"{case}: {seen[-1].reason}")
    return seen[:-1]


def measured(cards: int) -> dict[str, list[EpochReport]]:
    """The epochs of every model on so many cards."""
    device = f"cpu:{','.join(map(str, range(cards)))}"
    with closing(LocalExecutor(WorkerSetup(build_model, some_data(), threads=THREADS), (device,))) as executor:
        return {case: epochs_of(executor, case) for case in CASES}


def difference(ours: list[EpochReport], theirs: list[EpochReport]) -> float:
    """The largest difference of any metric at the end of an epoch."""
    return max(
        abs(mine.metrics[name] - value)
        for mine, other in zip(ours, theirs, strict=True)
        for name, value in other.metrics.items()
    )


def main() -> None:
    found = {cards: measured(cards) for cards in CARDS}
    table = Table("model", "cards train", *(f"{cards} cards" for cards in CARDS[1:]), "updates of 1, 2, 4 cards")
    for case, how in CASES.items():
        differences = [f"{difference(found[cards][case], found[1][case]):.1e}" for cards in CARDS[1:]]
        updates = ", ".join(str(found[cards][case][-1].updates) for cards in CARDS)
        table.add_row(case, how, *differences, updates)
    Console().print(table)


if __name__ == "__main__":
    main()
