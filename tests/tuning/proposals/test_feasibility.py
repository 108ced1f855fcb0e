from __future__ import annotations

import numpy as np

from tuning.proposals.evidence import MemoryEvidence

WIDE, NARROW = [1.0], [0.0]


def evidence(failed: list[tuple[int, list[float]]], worked: list[tuple[int, list[float]]]) -> MemoryEvidence:
    sizes = [np.array([float(size) for size, _ in some]) for some in (failed, worked)]
    models = [np.array([model for _, model in some]).reshape(-1, 1) for some in (failed, worked)]
    return MemoryEvidence(sizes[0], models[0], sizes[1], models[1])


def allows(found: MemoryEvidence, size: int, model: list[float]) -> bool:
    return bool(found.allows(np.array([float(size)]), np.array([model]))[0])


def test_a_failure_rules_out_its_size_and_all_larger_for_every_model() -> None:
    found = evidence([(64, WIDE)], [(32, NARROW)])
    assert [allows(found, size, model) for size in (32, 64, 128) for model in (WIDE, NARROW)] == [True] * 2 + [
        False
    ] * 4


def test_models_nearer_to_one_that_trained_there_are_allowed() -> None:
    found = evidence([(64, WIDE)], [(128, NARROW)])
    assert allows(found, 256, [0.2])
    assert not allows(found, 64, [0.8])


def test_a_failure_below_a_size_that_trained_the_same_model_was_not_for_memory() -> None:
    assert allows(evidence([(64, WIDE)], [(128, WIDE)]), 64, WIDE)


def test_without_evidence_everything_is_allowed() -> None:
    assert allows(evidence([], []), 10**6, WIDE)


def test_a_model_that_trained_at_the_very_size_is_evidence_too() -> None:
    assert allows(evidence([(64, WIDE)], [(64, NARROW)]), 64, [0.2])
