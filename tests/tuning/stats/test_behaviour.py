"""How trainings went by batch size, and what of it is said: only what exceeds the noise between seeds."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from made_curves import falling, rising

from tuning.objective import Objective
from tuning.stats.behaviour import Behaviour, equal_training_loss, trained
from tuning.stats.comparison import compare
from tuning.stats.observations import clearly_worse
from tuning.stats.recommendation import recommend
from tuning.trial import Status, Trial, finished_trial

ACCURACY = Objective("val_accuracy")
N = 1000


def course(size: int, seed: int, loss: Sequence[float], val: Sequence[float], score: Sequence[float]) -> Trial:
    seen = [N * epoch for epoch in range(1, len(loss) + 1)]
    losses = {at: {"loss": a, "val_loss": b} for at, a, b in zip(seen, loss, val, strict=True)}
    return finished_trial(size, seed, score[-1], curve=list(zip(seen, score, strict=True)), losses=losses)


def learning(size: int, seed: int, *, rate: float, gap: float = 0.1, epochs: int = 12, top: float = 0.9) -> Trial:
    """A training whose validation loss lies a gap above its training loss, with noise between seeds."""
    drawn = random.Random(f"{size} {seed}")
    loss = falling(epochs, rate=rate, floor=0.2, noise=0.01, seed=drawn.random())
    val = [value + gap + drawn.gauss(0, 0.003) for value in falling(epochs + 1, rate=rate, floor=0.2)[1:]]
    score = [value + drawn.gauss(0, 0.001) for value in rising(epochs, rate=rate, top=top)]
    return course(size, seed, loss, val, score)


def behaviour(trials: Sequence[Trial], **more: object) -> Behaviour:
    return recommend(trials, objective=ACCURACY, **more).behaviour


def sizes(**more: dict[int, float]) -> list[Trial]:
    names = [8, 64, 512]
    return [learning(s, seed, **{k: v[s] for k, v in more.items()}) for s in names for seed in range(3)]


SETTLED = {8: 1.2, 64: 1.2, 512: 1.2}
SLOW = {8: 1.2, 64: 1.2, 512: 0.15}


def test_a_budget_that_was_short_for_the_largest_size_favours_small_ones() -> None:
    (first, *_) = behaviour(sizes(rate=SLOW)).observations
    assert first.startswith("val_accuracy was still improving at the end of the budget with 512 (by 0.0")
    assert "the comparison favours small batch sizes" in first
    assert "give --target, or more epochs" in first


def test_a_budget_that_was_short_for_the_smallest_size_only_favours_nobody() -> None:
    (first, *_) = behaviour(sizes(rate={8: 0.15, 64: 1.2, 512: 1.2})).observations
    assert "with 8 (by" in first
    assert "more epochs may change the order" in first
    assert "favours" not in first


def test_with_a_target_nobody_is_told_that_the_budget_was_short() -> None:
    found = behaviour(sizes(rate=SLOW), target=0.5)
    assert not any("still improving" in text for text in found.observations)


def test_a_rise_within_the_noise_between_seeds_is_not_in_the_answer() -> None:
    rows = [learning(s, seed, rate=r, top=0.9 - 0.2 * ((seed + s) % 3)) for s, r in SLOW.items() for seed in range(3)]
    found = behaviour(rows)
    assert "still improving" in {kind.kind for row in found.sizes for kind in row.diagnoses}
    assert not any("still improving" in text for text in found.observations)


def test_trainings_that_are_alike_have_nothing_to_tell() -> None:
    assert behaviour(sizes(rate=SETTLED)).observations == ()


def test_a_size_that_generalises_worse_at_equal_training_loss_is_named() -> None:
    found = behaviour(sizes(rate=SETTLED, gap={8: 0.1, 64: 0.1, 512: 0.2}))
    (text,) = found.observations
    assert text.startswith("At equal training loss (0.2")
    assert "higher, by more than the noise between seeds, with 512 (0.4" in text
    by_size = {row.batch_size: row for row in found.sizes}
    assert by_size[512].gap_at_equal_loss == pytest.approx(0.2, abs=0.03)
    assert by_size[8].gap_at_equal_loss == pytest.approx(0.1, abs=0.03)
    assert by_size[8].generalisation_gap == pytest.approx(0.1, abs=0.02)


def unsteady(noise: float) -> list[Trial]:
    """Settled trainings, the smallest size with this much noise from epoch to epoch, the others with 1 %."""
    return [
        course(
            size,
            seed,
            falling(20, rate=2, floor=0.3, noise=noise if size == 8 else 0.01, seed=1000 * size + seed),
            [0.4] * 20,
            [0.9 + random.Random(size + seed).gauss(0, 0.001)] * 20,
        )
        for size in (8, 64, 512)
        for seed in range(3)
    ]


def test_a_size_that_trains_much_less_steadily_is_noisy() -> None:
    found = behaviour(unsteady(0.1))
    (text,) = found.observations
    assert text.startswith("With 8: noisy: the training loss varies by")
    noises = {row.batch_size: row.update_noise or 0.0 for row in found.sizes}
    assert noises[8] > 5 * noises[64]


def test_a_size_that_trains_a_little_less_steadily_is_compared() -> None:
    (text,) = behaviour(unsteady(0.04)).observations
    assert text.startswith("The training loss varies least from epoch to epoch with ")
    assert "more, beyond the noise between seeds, with 8 (" in text


def test_what_all_sizes_show_is_told_once() -> None:
    stalled = [
        course(size, seed, falling(20, rate=0.15), [0.5] * 20, rising(20, until=6, top=0.9 + seed / 1000))
        for size in (8, 64, 512)
        for seed in range(3)
    ]
    (text,) = behaviour(stalled).observations
    assert text == (
        "With 8: the training loss still falls while val_accuracy has stalled since epoch 6: more noise (a smaller "
        "batch) or regularisation; so too with 64 and 512."
    )


def test_divergences_are_counted_and_trials_without_a_course_have_no_row() -> None:
    diverged = finished_trial(1024, 0, None, status=Status.DIVERGED)
    found = behaviour([*sizes(rate=SETTLED), diverged, finished_trial(4, 0, 0.5)])
    assert [(row.batch_size, row.trainings, row.diverged) for row in found.sizes] == [
        (8, 3, 0),
        (64, 3, 0),
        (512, 3, 0),
        (1024, 0, 1),
    ]


def test_the_equal_loss_is_one_that_most_sizes_passed_and_of_those_the_least() -> None:
    from tuning.stats.arms import group_into_arms

    def level(trials: Sequence[Trial]) -> float | None:
        return equal_training_loss(trained(group_into_arms(trials, objective=ACCURACY), ACCURACY))

    fast = {8: [9.0, 1, 0.8, 0.6], 16: [9.0, 1, 0.8, 0.5]}
    slow = {32: [9.0, 8, 4, 3.0], 64: [9.0, 8, 4, 3.1]}
    both = [course(size, 0, loss, loss, [0.1, 0.2, 0.3, 0.4]) for size, loss in {**fast, **slow}.items()]
    assert level(both) == 0.6  # two sizes share it, as two share 3.1
    lines = {8: [5.0, 4, 3, 2, 1], 16: [5.0, 4.5, 4, 3, 2.5], 32: [5.0, 4.9, 4.8, 4.7, 4.6]}
    trials = [course(size, 0, loss, loss, [0.1, 0.2, 0.3, 0.4, 0.5]) for size, loss in lines.items()]
    assert level(trials) == 2.5  # 32 ends at 4.6, which the others passed in their first epochs
    assert level(trials[:1]) is None


def test_a_behaviour_is_plain_json() -> None:
    plain = recommend(sizes(rate=SLOW), objective=ACCURACY).to_json()["behaviour"]
    assert plain["sizes"][-1]["diagnoses"][0]["kind"] == "still improving"
    assert plain["equal_loss"] is None or plain["equal_loss"] > 0


def test_sizes_that_are_alike_are_seldom_told_apart() -> None:
    """One study in twenty at most names a difference that is none (Tukey at 95 %); 300 studies, so 15 +- 4."""
    drawn = random.Random(0)
    wrong = 0
    for _ in range(300):
        scores = {size: {seed: drawn.gauss(0, 1) for seed in range(3)} for size in (8, 16, 32, 64, 128, 256)}
        wrong += bool(clearly_worse(compare(scores)))
    assert 3 <= wrong <= 27
