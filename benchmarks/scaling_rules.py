"""Should weight decay and beta_2 follow the batch size? Two AdamW tasks, their decay tuned at batch size 32.

    python benchmarks/scaling_rules.py [--quick] [--seeds 4]

Tasks where decay matters: digits of which two fifths of the training labels are drawn at random, by a perceptron
(validation accuracy), and scikit-learn's diabetes, by a larger perceptron than its 320 examples can bear (validation
loss). At 32 the decay is chosen among five by its mean score. Then, at each batch size, rates of 1/3, 1 and 3 times the
square-root rule are tried with three rules: nothing follows, the decay follows (what it does in an epoch is held), the
decay and beta_2 follow. Printed is the mean score at the rule's own rate and its standard error over seeds, then the
best mean over the rates and the multiple that gave it. Takes about 10 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from sklearn.datasets import load_diabetes

from search_spaces import Data
from search_spaces.digits import load_digits
from search_spaces.scaling import Scaling
from search_spaces.space import Setting
from tuning.instructions import Budget, Instructions
from tuning.loops.session import TrainingSession
from tuning.trial import EpochReport, Trial

AT = 32
MULTIPLES = (1 / 3, 1.0, 3.0)
RULES = {
    "nothing follows": (False, False),
    "decay follows": (True, False),
    "decay, beta_2 follow": (True, True),
}


@dataclass(frozen=True)
class Task:
    """A training task of AdamW.

    Args:
        name: What it is.
        build: Returns the compiled model for a weight decay.
        data: What it is trained on.
        metric: The score's name; larger is better where it is an accuracy.
        rate: The learning rate at batch size 32.
        epochs: Passes over the training set.
        sizes: The batch sizes to compare.
        decays: The weight decays to choose from at batch size 32.
    """

    name: str
    build: Callable[[float], keras.Model]
    data: Data
    metric: str
    rate: float
    epochs: int
    sizes: tuple[int, ...]
    decays: tuple[float, ...]

    @property
    def sign(self) -> int:
        """1 where larger is better, -1 where smaller is."""
        return 1 if "accuracy" in self.metric else -1


def wrong_digits() -> Data:
    """Return the digits with two fifths of the training labels drawn at random."""
    data = load_digits()
    generator = np.random.default_rng(1)
    labels = np.array(data.y_train)
    wrong = generator.random(len(labels)) < 0.4
    labels[wrong] = generator.integers(0, 10, int(wrong.sum()))
    return replace(data, y_train=labels)


def classifier(decay: float) -> keras.Model:
    """Return the digits' perceptron with AdamW."""
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(256, "relu"), keras.layers.Dense(10, "softmax")])
    model.compile(keras.optimizers.AdamW(weight_decay=decay), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def diabetes() -> Data:
    """Return 320 + 122 patients, standardised: ten measurements, and how far the disease went."""
    x, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = (x / x.std(0))[order].astype("float32"), ((y - y.mean()) / y.std())[order, None].astype("float32")
    return Data(x[:320], y[:320], x[320:], y[320:])


def regressor(decay: float) -> keras.Model:
    """Return a perceptron that is large for the patients, with AdamW."""
    hidden = [keras.layers.Dense(128, "relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((10,)), *hidden, keras.layers.Dense(1)])
    model.compile(keras.optimizers.AdamW(weight_decay=decay), "mse")
    return model


def tasks(*, quick: bool) -> Sequence[Task]:
    """Return the tasks; the quick one only shows that the script runs."""
    digits = Task(
        "digits", classifier, wrong_digits(), "val_accuracy", 1e-3, 40, (8, 32, 128, 512), (0.0, 0.3, 1.0, 3.0, 10.0)
    )
    patients = Task(
        "diabetes", regressor, diabetes(), "val_loss", 1e-3, 40, (4, 16, 64, 160), (0.0, 1.0, 3.0, 10.0, 30.0)
    )
    return [replace(digits, epochs=2, sizes=(32, 128), decays=(0.3,))] if quick else [digits, patients]


def score(task: Task, session: TrainingSession, batch_size: int, multiple: float, seed: int, scaling: Scaling) -> float:
    """Return the score of one training."""
    reports: list[EpochReport] = []
    rate = task.rate * multiple * (batch_size / AT) ** 0.5
    trial = Trial(
        Setting(batch_size, rate),
        seed,
        budget=Budget(task.epochs),
        trial_id="t",
        instructions=Instructions(scaling=scaling),
    )
    outcome = session.train(trial, lambda report: reports.append(report) or True)
    return reports[-1].metrics[task.metric] if outcome.status == "completed" else float("nan")


def tuned_decay(task: Task, seeds: int) -> float:
    """Return the decay with the best mean score at batch size 32 and the task's rate."""
    means = {}
    for decay in task.decays:
        session = TrainingSession(lambda decay=decay: task.build(decay), task.data)
        scores = [score(task, session, AT, 1.0, seed, Scaling()) for seed in range(seeds)]
        means[decay] = statistics.fmean(scores)
        print(f"  decay {decay:g}: {task.metric} {means[decay]:.4f}", flush=True)
    return max(means, key=lambda decay: task.sign * means[decay])


def told(task: Task, session: TrainingSession, batch_size: int, seeds: int, scaling: Scaling) -> str:
    """Return the mean score at the rule's rate with its standard error, and the best mean over the rates."""
    found = {
        multiple: [score(task, session, batch_size, multiple, seed, scaling) for seed in range(seeds)]
        for multiple in MULTIPLES
    }
    means = {multiple: statistics.fmean(scores) for multiple, scores in found.items()}
    best = max(means, key=lambda each: task.sign * means[each] if np.isfinite(means[each]) else float("-inf"))
    error = statistics.stdev(found[1.0]) / seeds**0.5
    return f"{means[1.0]:.4f} +- {error:.4f}, {means[best]:.4f} at x{best:.2g}"


def compare(task: Task, seeds: int) -> None:
    """Print the table of one task."""
    print(f"{task.name}: {task.data.n_train} examples, {task.epochs} epochs, {seeds} seeds")
    decay = tuned_decay(task, seeds)
    print(f"  chosen: {decay:g}")
    session = TrainingSession(lambda: task.build(decay), task.data)
    print("  " + "batch".rjust(6) + "".join(rule.rjust(36) for rule in RULES))
    for size in task.sizes:
        row = ""
        for follows, betas in RULES.values():
            scaling = Scaling(AT, reference_rate=task.rate, weight_decay=follows, decay_constants=betas)
            row += told(task, session, size, seeds, scaling).rjust(36)
        print("  " + str(size).rjust(6) + row, flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it runs")
    parser.add_argument("--seeds", type=int, default=4, help="trainings per setting (4)")
    asked = parser.parse_args()
    for task in tasks(quick=asked.quick):
        compare(task, 2 if asked.quick else asked.seeds)


if __name__ == "__main__":
    main()
