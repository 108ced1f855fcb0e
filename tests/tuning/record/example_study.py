"""A study as a search would record it, without training: learning curves with noise, and two trials that fail."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from search_spaces.space import Setting
from tuning.instructions import Budget
from tuning.messages import Measurement
from tuning.record.tracker import Tracker
from tuning.trial import SEARCH, EpochReport, Status, Trial, TrialOutcome

BATCH_SIZES = (8, 16, 32, 64, 128, 256, 512)
SEEDS = (0, 1, 2)
HEADLINE = "Train with batch size 64, learning rate 0.00141."
REASON = "the worker was killed while it held 7.9 GiB of 8 GiB"
_EXAMPLES = 1437
_EPOCHS = 8
_MARKDOWN = f"""## {HEADLINE}

64 is the cheapest batch size within one standard error of the best.

| batch size | learning rate | mean | verdict |
| ---: | ---: | ---: | :--- |
| 32 | 0.001 | 0.9279 | within the noise |
| 64 | 0.00141 | 0.9091 | recommended |
"""


def record_example(tracker: Tracker, study: str = "digits-grid", seeds: Sequence[int] = SEEDS) -> None:
    """Record it: 7 trials for each seed, of which two failed, a measurement, and a recommendation."""
    tracker.start_study(study, {"objective": "val_accuracy", "mode": "max"})
    tracker.measured(
        Measurement("memory", {"loop": "device"}, {"memory_limit_bytes": 8e9}, (("peak_memory_bytes", 3e8, 8),))
    )
    noise = random.Random(0)
    trial_id = 0
    deciding = {}
    for seed in seeds:
        for batch_size in BATCH_SIZES:
            if _record_trial(tracker, str(trial_id), batch_size, seed, noise):
                place, rate = math.log2(batch_size), round(0.001 * math.sqrt(batch_size / 32), 6)
                numbers = {"log2_batch_size": place, "learning_rate": rate, "score": 0.9, "mean": 0.91}
                deciding[str(trial_id)] = numbers
            trial_id += 1
    files = {"report.html": f"<h1>{HEADLINE}</h1>"}
    tracker.recommended({"recommended_batch_size": 64}, _MARKDOWN, files, deciding)
    tracker.close()


def _record_trial(tracker: Tracker, trial_id: str, batch_size: int, seed: int, noise: random.Random) -> bool:
    """Record a trial, and return whether it completed."""
    learning_rate = 0.001 * math.sqrt(batch_size / 32)
    tracker.start_trial(Trial(Setting(batch_size, learning_rate), seed, SEARCH, Budget(_EPOCHS), trial_id))
    if (batch_size, seed) == (512, 1):
        tail = "ResourceExhaustedError: OOM when allocating tensor with shape[512,64,64,128]"
        tracker.end_trial(TrialOutcome(trial_id, Status.OUT_OF_MEMORY, REASON, tail, seconds=3.2))
        return False
    throughput = 50_000 * batch_size / (batch_size + 60) * (1 + noise.gauss(0, 0.03))
    epochs = 3 if (batch_size, seed) == (8, 2) else _EPOCHS
    for epoch in range(1, epochs + 1):
        report = _epoch(trial_id, epoch, batch_size, learning_rate, throughput, noise)
        tracker.epoch(report)
    if epochs < _EPOCHS:
        tracker.end_trial(TrialOutcome(trial_id, Status.DIVERGED, "the loss became NaN in epoch 4"))
        return False
    tracker.end_trial(
        TrialOutcome(
            trial_id,
            Status.COMPLETED,
            seconds=report.seconds,
            compile_seconds=1 + abs(noise.gauss(0, 0.1)),
            examples_per_second=1.05 * throughput,
            peak_memory_bytes=int((300 + 0.9 * batch_size) * 2**20),
            loop="device",
        )
    )
    return True


def _epoch(
    trial_id: str, epoch: int, batch_size: int, learning_rate: float, throughput: float, noise: random.Random
) -> EpochReport:
    seen = _EXAMPLES * epoch
    updates = seen // batch_size
    loss = 0.05 + 2.2 / (1 + updates / 60 * math.sqrt(learning_rate / 0.001)) + noise.gauss(0, 0.01)
    accuracy = 1 / (1 + math.exp(1.8 * loss - 3.4)) + noise.gauss(0, 0.004)
    metrics = {"loss": loss, "accuracy": accuracy, "val_loss": 1.1 * loss, "val_accuracy": accuracy - 0.01}
    return EpochReport(trial_id, epoch, seen, updates, metrics, seen / throughput)
