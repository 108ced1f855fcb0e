"""Evidence with something in every figure, made by a law of updates instead of by training."""

from __future__ import annotations

import math
import random
from typing import Any

from tuning.machine.advice import TrainingAdvice
from tuning.noise_messages import NoiseScalePoint
from tuning.objective import Objective
from tuning.record.runs import Measurements
from tuning.show.answer import Answer
from tuning.show.evidence import Evidence
from tuning.stats.recommendation import recommend
from tuning.trial import Status, Trial, finished_trial

SIZES = (4, 16, 64, 256, 1024)
ACCURACY = Objective("val_accuracy")
_EXAMPLES = 6000
_MIB = 2**20


def trials(
    sizes: tuple[int, ...] = SIZES, seeds: int = 3, multiples: tuple[float, ...] = (0.3, 1, 3), epochs: int = 30
) -> list[Trial]:
    """S_min = 400, B_crit = 90; the last batch size runs out of memory with its last seed."""
    noise = random.Random(1)
    found = []
    for size in sizes:
        for multiple in multiples:
            for seed in range(seeds):
                rate = 0.001 * math.sqrt(size / 32) * multiple
                if size == max(sizes) and seed == seeds - 1 and seeds > 1:
                    status, reason = Status.OUT_OF_MEMORY, "no room for <tensor> & more"
                    found.append(finished_trial(size, seed, None, status=status, learning_rate=rate, reason=reason))
                    continue
                seen = [_EXAMPLES * epoch for epoch in range(1, epochs + 1)]
                curve = [_score(at, size, abs(math.log(multiple))) + noise.gauss(0, 0.001) for at in seen]
                losses = {at: _losses(score, size, noise) for at, score in zip(seen, curve, strict=True)}
                per_second = size / (3e-4 + 3e-6 * size)
                found.append(
                    finished_trial(
                        size,
                        seed,
                        curve[-1],
                        learning_rate=rate,
                        curve=list(zip(seen, curve, strict=True)),
                        losses=losses,
                        examples_per_second=per_second,
                        peak_memory_bytes=int((300 + 0.9 * size) * _MIB),
                        seconds=seen[-1] / per_second,
                    )
                )
    return found


def evidence(ended: list[Trial] | None = None, *, target: float | None = None, **changes: Any) -> Evidence:
    """Return what a report of them is made of."""
    ended = trials() if ended is None else ended
    found = recommend(
        ended, objective=changes.get("objective", ACCURACY), target=target, notes=["a note with <b>marks</b>"]
    )
    advice = TrainingAdvice(found.batch_size, "device", 45, False, 1e5, 2e4)
    values = {
        "answer": Answer(found, "study & co", "", "1", advice),
        "trials": ended,
        "objective": ACCURACY,
        "target": target,
        "settings": {"search": "grid", "epochs": "30", "command": "batch-size grid x", "versions": "python 3\nkeras 3"},
        "measurements": measurements(),
    }
    return Evidence(**(values | changes))


def measurements() -> Measurements:
    """A probe's."""
    sizes = (8, 32, 128, 512)
    return Measurements(
        examples_per_second={
            "keras": {size: size / (3e-3 + 4e-6 * size) for size in sizes},
            "chosen": {size: size / (3e-4 + 3e-6 * size) for size in sizes},
        },
        peak_memory_bytes={size: (300 + 0.9 * size) * _MIB for size in sizes},
        memory_limit_bytes=900 * _MIB,
        memory_limit_source="--memory-limit",
        noise_scale=(
            NoiseScalePoint(0, 12.0, 8.0, 17.0, 1.0, 1.0),
            NoiseScalePoint(30000, None, 90.0, None, 1.0, -0.1),
            NoiseScalePoint(60000, 180.0, 120.0, 300.0, 1.0, 1.0),
        ),
        trial_noise_scale={64: [(1000, 20.0), (2000, 30.0)]},
    )


def _losses(score: float, size: int, noise: random.Random) -> dict[str, float]:
    """A training loss that is the less steady the smaller the batch, and a gap that grows with it."""
    loss = 3 * (1 - score) * math.exp(noise.gauss(0, 0.2 / math.sqrt(size)))
    return {"loss": loss, "val_loss": loss + 0.02 * math.log2(size) + noise.gauss(0, 0.01)}


def _score(seen: int, size: int, distance: float) -> float:
    progress = seen / size / (400 * (1 + 90 / size))
    return 0.98 - 0.6 * math.exp(-1.2 * progress**0.7 / (1 + distance / 4))
