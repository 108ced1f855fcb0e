"""Courses of trainings made by formulas, with the diagnoses that they are made to show."""

from __future__ import annotations

import math
import random

from tuning.stats.curves import Course
from tuning.stats.diagnoses import Kind


def falling(epochs, *, start=2.3, floor=0.0, rate=0.3, noise=0.0, seed=0):
    """A loss that falls exponentially to a floor, with noise in proportion."""
    drawn = random.Random(seed)
    return [
        (floor + (start - floor) * math.exp(-rate * epoch)) * (1 + noise * drawn.gauss(0, 1)) for epoch in range(epochs)
    ]


def rising(epochs, *, top=0.95, start=0.3, rate=0.3, until=None, noise=0.0, seed=1):
    """A score that rises towards a top; from epoch `until` on it stays, but for the noise."""
    drawn = random.Random(seed)
    at = [min(epoch, until - 1) if until else epoch for epoch in range(epochs)]
    return [top - (top - start) * math.exp(-rate * epoch) + noise * drawn.gauss(0, 1) for epoch in at]


def valley(epochs, *, least, bottom=0.4, slope=0.04, noise=0.0, seed=2):
    """A validation loss that falls until an epoch and then rises."""
    drawn = random.Random(seed)
    return [
        bottom + slope * (epoch - least if epoch > least else 3 * (least - epoch)) + noise * drawn.gauss(0, 1)
        for epoch in range(1, epochs + 1)
    ]


def with_jumps(loss, epochs, by=2.0):
    """The same with the loss of some epochs, counted from 1, multiplied."""
    return [value * (by if epoch in epochs else 1) for epoch, value in enumerate(loss, start=1)]


def made(loss=(), gains=(), val_loss=(), **more):
    return Course(tuple(loss), tuple(val_loss), tuple(gains), **more)


MADE = {
    "improving, five epochs": (made(falling(5), rising(5), falling(5, floor=0.1)), {Kind.IMPROVING}),
    "improving, with noise": (
        made(falling(12, noise=0.02), rising(12, rate=0.1, noise=0.004), falling(12, floor=0.1, noise=0.02)),
        {Kind.IMPROVING},
    ),
    "improving by a loss": (made(falling(9), [-v for v in falling(9, floor=0.3)]), {Kind.IMPROVING}),
    "improving, in steps of a small validation set": (
        made(falling(6), [0.50, 0.60, 0.70, 0.75, 0.80, 0.80]),
        {Kind.IMPROVING},
    ),
    "improving, a loss below 0": (made([-x for x in range(8)], rising(8, rate=0.1)), {Kind.IMPROVING}),
    "stalled since epoch 6": (
        made(falling(20, rate=0.15), rising(20, until=6), [0.5] * 20),
        {Kind.STALLED},
    ),
    "stalled, with noise": (
        made(
            falling(18, rate=0.2, noise=0.02),
            rising(18, rate=1, until=5, noise=0.005, seed=2),
            falling(18, floor=0.4, rate=2),
        ),
        {Kind.STALLED},
    ),
    "stalled, no validation loss": (made(falling(15, rate=0.2), rising(15, until=4)), {Kind.STALLED}),
    "overfitting, the score holds": (
        made(falling(16, rate=0.2), rising(16, until=8, noise=0.002), valley(16, least=8)),
        {Kind.OVERFITTING},
    ),
    "overfitting, judged by the loss": (
        made(falling(16, rate=0.2), [-v for v in valley(16, least=5, noise=0.01)], valley(16, least=5, noise=0.01)),
        {Kind.OVERFITTING},
    ),
    "overfitting, no validation loss": (
        made(falling(12, rate=0.2), [-v for v in valley(12, least=4, slope=0.02)]),
        {Kind.OVERFITTING},
    ),
    "settled": (made(falling(20, floor=0.2, rate=1.5), rising(20, rate=2), [0.3] * 20), {Kind.SETTLED}),
    "settled, with noise": (
        made(
            falling(24, floor=0.2, rate=1, noise=0.02), rising(24, rate=2, noise=0.01), falling(24, floor=0.3, rate=1)
        ),
        {Kind.SETTLED},
    ),
    "flat": (made(falling(10, floor=2.29, noise=0.001), [0.1, 0.11] * 5, [2.31] * 10), {Kind.FLAT}),
    "noisy and improving": (
        made(falling(15, rate=0.1, noise=0.3), rising(15, rate=0.06)),
        {Kind.IMPROVING, Kind.NOISY},
    ),
    "noisy and settled": (
        made(falling(20, floor=0.5, rate=1, noise=0.3, seed=5), rising(20, rate=2, noise=0.01)),
        {Kind.SETTLED, Kind.NOISY},
    ),
    "a spike": (
        made(with_jumps(falling(16, floor=0.2, rate=1), {11}), rising(16, rate=2)),
        {Kind.SETTLED, Kind.SPIKES},
    ),
    "a spike in the last epoch": (
        made(with_jumps(falling(12, floor=0.2, rate=1), {12}), rising(12, rate=2)),
        {Kind.SETTLED, Kind.SPIKES},
    ),
    "one epoch": (made([2.0], [0.5], [2.0]), set()),
    "four epochs": (made(falling(4), rising(4), falling(4)), set()),
    "rising when it reached its target": (made(falling(8), rising(8), is_whole=False), set()),
    "the score holds, the validation loss still falls": (
        made(falling(15, rate=0.2), rising(15, until=4), falling(15, rate=0.1)),
        set(),
    ),
    "nothing was logged": (made(), set()),
}
"""By name: the course, and the kinds of its diagnoses."""
