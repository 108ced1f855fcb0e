import json
import math
import re

import numpy as np
import pytest
from selection_helpers import MAX, RATES, study, timed, trial

from tuning.objective import Objective
from tuning.stats.recommendation import NothingToRecommend, count_by_status, recommend
from tuning.stats.table import cells
from tuning.trial import Status


def verdicts(recommendation):
    return {row.batch_size: row.verdict for row in recommendation.table}


def test_fastest_takes_the_cheapest_that_is_not_worse():
    found = recommend(study({8: 0.95, 32: 0.9502, 128: 0.9498, 512: 0.90}, rates=RATES), objective=MAX)
    assert found.batch_size == 128
    assert verdicts(found) == {8: "tied", 32: "tied", 128: "recommended", 512: "lower"}


def test_quality_takes_the_best_mean_whatever_it_costs():
    results = study({8: 0.9503, 32: 0.9502, 128: 0.9498}, rates=RATES)
    assert recommend(results, objective=MAX, rule="quality").batch_size == 8


def test_smaller_is_better_when_minimising():
    found = recommend(study({8: 0.30, 32: 0.25, 128: 0.40}, rates=RATES), objective=Objective("val_loss", "min"))
    assert found.batch_size == 32
    assert verdicts(found) == {8: "higher", 32: "recommended", 128: "higher"}
    assert next(row for row in found.table if row.batch_size == 32).objective_mean == pytest.approx(0.25)


def test_one_seed_recommends_the_best_mean_and_says_that_the_noise_is_unknown():
    found = recommend(study({8: 0.91, 32: 0.93, 128: 0.92}, noise=(0.0,)), objective=MAX)
    assert found.batch_size == 32
    assert any("noise is unknown" in caveat for caveat in found.caveats)


def test_one_batch_size_says_that_nothing_was_compared():
    found = recommend(study({32: 0.93}), objective=MAX)
    assert found.batch_size == 32
    assert any("nothing was compared" in reason for reason in found.reasons)


def test_sizes_without_a_score_say_how_they_ended():
    results = [
        *study({8: 0.91, 32: 0.93}),
        trial(64, 0, status=Status.OUT_OF_MEMORY),
        trial(128, 0, status=Status.DIVERGED),
        trial(256, 0, status=Status.FAILED),
    ]
    found = recommend(results, objective=MAX)
    assert {b: v for b, v in verdicts(found).items() if b > 32} == {64: "out_of_memory", 128: "diverged", 256: "failed"}
    assert found.trials == {
        "completed": 6,
        "pruned": 0,
        "out_of_memory": 1,
        "diverged": 1,
        "failed": 1,
        "interrupted": 0,
        "lost": 0,
    }


def test_json_holds_no_value_that_json_cannot():
    results = [
        *study({8: 0.91, 32: 0.93}, hyperparameters=(("units", 64),)),
        trial(64, 0, status=Status.COMPLETED, objective=math.nan),
    ]
    plain = recommend(results, objective=MAX, target=0.99).to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["hyperparameters"] == {"units": 64}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "got no trial at all"),
        ([trial(8, 0, status=Status.FAILED, reason="no such layer")], "got 1 failed. First reason: no such layer"),
        ([trial(8, 0, status=Status.COMPLETED, objective=math.inf)], "finite score; got 1 completed"),
    ],
)
def test_nothing_completed_is_refused_in_one_line(results, message):
    with pytest.raises(NothingToRecommend, match=message):
        recommend(results, objective=MAX)


def test_unknown_rule_and_negative_tolerance_are_refused():
    with pytest.raises(ValueError, match="rule must be one of fastest, balanced, quality; got 'best'"):
        recommend(study({8: 0.9}), objective=MAX, rule="best")
    with pytest.raises(ValueError, match="tolerance must not be negative; got -1"):
        recommend(study({8: 0.9}), objective=MAX, tolerance=-1)


def test_target_ranks_by_time_and_marks_those_that_missed_it():
    results = timed({8: 10_000, 32: 12_000, 128: 70_000, 512: None}, rates=RATES)
    found = recommend(results, objective=MAX, target=0.9)
    assert found.batch_size == 32
    assert verdicts(found) == {8: "slower", 32: "recommended", 128: "slower", 512: "not reached"}
    assert found.cost == "seconds to the target"
    assert found.table[1].seconds_to_target == pytest.approx(6, rel=0.01)
    assert found.table[3].seconds_to_target is None
    assert "soonest: 6.0 seconds to the target, against 12 seconds to the target with 128" in found.reasons[1]
    assert "The target 0.9 was not reached by 512 (3 of 3 seeds) within the budget." in found.caveats


def test_a_pick_of_which_a_seed_missed_the_target_says_so_and_what_to_do():
    results = timed({8: 50_000, 32: 90_000}, rates=RATES)
    results[5] = trial(32, 2, 0.89, examples_seen=(91_000,), objective_curve=(0.89,), examples_per_second=2000)
    found = recommend(results, objective=MAX, target=0.9, throughput=RATES)
    assert found.batch_size == 32
    assert [cells(row)[2] for row in found.table] == ["3", "2 of 3"]
    assert [row.missed for row in found.table] == [0, 1]
    assert found.table[1].seconds_to_target > 90_000 / 2000
    assert "The target 0.9 was not reached by 32 (1 of 3 seeds) within the budget." in found.caveats
    assert any(caveat.startswith("1 of 3 seeds missed the target with 32: give") for caveat in found.caveats)


def test_learning_rate_at_the_edge_is_a_verdict_and_a_caveat():
    results = [
        trial(size, seed, score, learning_rate=rate, examples_per_second=RATES[size])
        for size, scores in {8: (0.5, 0.95, 0.5), 32: (0.5, 0.6, 0.8)}.items()
        for rate, score in zip((0.001, 0.01, 0.1), scores, strict=True)
        for seed in range(2)
    ]
    found = recommend(results, objective=MAX)
    assert verdicts(found) == {8: "recommended", 32: "learning rate at edge"}
    assert any("at an end of those tried for 32 (highest)" in caveat for caveat in found.caveats)
    assert any("best of 3 settings tried with the same seeds" in caveat for caveat in found.caveats)


def test_confirmed_sizes_are_picked_and_the_others_say_that_they_were_not():
    results = study({8: 0.99, 32: 0.97}) + study({32: 0.95, 128: 0.94}, stage="confirm")
    found = recommend(results, objective=MAX, rule="quality")
    assert verdicts(found) == {8: "not confirmed", 32: "recommended", 128: "lower"}
    assert any(caveat.startswith("8 ran in the search only") for caveat in found.caveats)
    assert found.table[1].objective_mean == pytest.approx(0.95)


@pytest.mark.parametrize(("status", "verdict"), [(Status.DIVERGED, "diverged"), (Status.PRUNED, "pruned")])
def test_sizes_that_lost_a_seed_by_their_own_fault_say_so(status, verdict):
    results = study({8: 0.90, 32: 0.95})
    results[-1] = trial(32, 2, status=status)
    assert verdicts(recommend(results, objective=MAX)) == {8: "recommended", 32: verdict}


def test_missing_seeds_are_told_and_adjusted_for():
    results = study({8: 0.90, 32: 0.95, 128: 0.95})
    results[-1] = trial(128, 2, status=Status.INTERRUPTED)
    found = recommend(results, objective=MAX, planned_seeds=4)
    told = "There are fewer seeds of 8 (3 of 4), 32 (3 of 4) and 128 (2 of 4)"
    assert any(caveat.startswith(told) for caveat in found.caveats)
    row = found.table[2]
    assert row.seeds == 2
    assert row.objective_se > found.table[1].objective_se


def test_wild_scores_are_warned_of():
    results = study({8: 0.90, 32: 0.90, 128: 0.90, 512: 0.90}, noise=(0.002, -0.001, -0.002, 0.001))
    results[-1] = trial(512, 3, 0.30)
    found = recommend(results, objective=MAX)
    assert any(caveat.startswith("The val_accuracy of 512 spreads over four times as wide") for caveat in found.caveats)
    assert verdicts(found)[8] != "lower"


def test_the_chance_is_told_if_one_size_alone_stands_out_where_it_may_and_not_where_scores_fall_steadily():
    def caveats(means):
        noise = np.random.default_rng(9).normal(0, 0.01, (6, 3))
        table = {8 * 2**i: mean + noise[i] for i, mean in enumerate(means)}
        trials = [
            trial(size, seed, float(y), examples_per_second=1000.0 * size)
            for size, row in table.items()
            for seed, y in enumerate(row)
        ]
        found = recommend(trials, objective=MAX)
        return [each for each in found.caveats if "alone stands out from the others" in each], found.chance_of_loss

    (told,), stated = caveats([0.90, 0.92, 0.90, 0.90, 0.90, 0.90])
    likely, chance = (int(each) / 100 for each in re.findall(r"(\d+) %", told))
    assert likely >= 0.1
    assert chance >= stated + 0.1
    assert caveats([0.90, 0.87, 0.84, 0.81, 0.78, 0.75])[0] == []


def test_two_seeds_are_called_few():
    found = recommend(study({8: 0.90, 32: 0.95}, noise=(0.001, -0.001)), objective=MAX)
    assert any(caveat.startswith("2 seeds per batch size say little") for caveat in found.caveats)


def test_trials_with_different_seeds_are_compared_unpaired():
    results = [trial(8, s, 0.9 + 0.001 * s) for s in (0, 1)] + [trial(32, s, 0.8 + 0.001 * s) for s in (2, 3)]
    assert any("too few seeds to be paired" in caveat for caveat in recommend(results, objective=MAX).caveats)


def test_notes_of_the_caller_come_last():
    found = recommend(study({8: 0.9}), objective=MAX, notes=["The model has BatchNormalization."])
    assert found.caveats[-1] == "The model has BatchNormalization."


def test_doubts_about_the_critical_size_are_caveats():
    found = recommend(timed({8: 10_000, 32: 12_000, 128: 20_000}), objective=MAX, target=0.9)
    (caveat,) = (c for c in found.caveats if c.startswith("The critical batch size is not identified"))
    assert caveat.endswith("3 batch sizes reached the target; 4 are needed.")


def test_identified_law_explains_the_pick():
    sizes = (4, 16, 64, 256, 1024, 4096)
    examples = {size: 100 * (1 + 256 / size) * size for size in sizes}
    rates = {size: size / (0.02 + 1e-4 * size) for size in sizes}
    found = recommend(timed(examples, rates=rates, budget=2_000_000), objective=MAX, target=0.9)
    assert found.batch_size == 256
    assert re.match(r"The fitted time is shortest near 22\d and within 5 % of that from", found.reasons[2])
    assert found.explanation.scaling_law.identified


def test_six_seeds_add_an_exact_test_of_a_pick_that_is_not_the_best_mean():
    noise = (0.004, -0.001, -0.001, 0.002, -0.003, -0.001)
    results = [
        trial(size, seed, mean + e, examples_per_second=RATES[size])
        for size, mean in ((8, 0.9002), (32, 0.9000))
        for seed, e in enumerate(noise)
    ]
    found = recommend(results, objective=MAX, tolerance=0.01)
    assert found.batch_size == 32
    assert any("exact paired permutation test over 6 seeds finds 8 better" in caveat for caveat in found.caveats)


def test_reasons_are_three_to_six_sentences_that_name_the_pick_and_what_is_untested():
    for results, options in (
        (study({8: 0.9}), {}),
        (study({8: 0.9, 32: 0.9}, noise=(0.0,)), {}),
        (study({8: 0.95, 32: 0.9502, 128: 0.9498, 512: 0.90}, rates=RATES), {}),
        (timed({8: 10_000, 32: 12_000}, rates=RATES), {"target": 0.9}),
        (timed({8: None, 32: None}, rates=RATES), {"target": 0.9}),
    ):
        found = recommend(results, objective=MAX, **options)
        assert 3 <= len(found.reasons) <= 6
        assert found.reasons[0].startswith(f"Train with a batch size of {found.batch_size}")
        assert found.reasons[-1].startswith("Not tested:")
        assert all(sentence.endswith(".") and "None" not in sentence for sentence in found.reasons)


def test_sizes_out_of_memory_bound_what_was_tested():
    found = recommend([*study({8: 0.9, 32: 0.9}), trial(128, 0, status=Status.OUT_OF_MEMORY)], objective=MAX)
    assert "below 8 or above 32 (128 ran out of memory)" in found.reasons[-1]


def test_stated_chance_and_margin_are_in_the_words():
    found = recommend(study({8: 0.95, 32: 0.9502, 128: 0.9498}, rates=RATES), objective=MAX)
    assert 0 <= found.chance_of_loss <= 1
    assert found.expected_loss >= 0
    assert found.margin == pytest.approx(1.5 * found.comparison.sigma * math.sqrt(2 / 3))
    assert re.match(
        r"The chance that it is in truth more than .* val_accuracy behind the best is \d+ %", found.reasons[4]
    )


def test_a_pick_at_an_end_of_the_batch_sizes_says_so_unless_nothing_lies_beyond():
    smallest, largest = "8 is the smallest batch size tried", "32 is the largest batch size tried; larger ones may be"

    def caveats(means, *more, **fields):
        return " ".join(recommend([*study(means, **fields), *more], objective=MAX, rule="quality").caveats)

    assert smallest in caveats({8: 0.95, 32: 0.9})
    assert largest in caveats({8: 0.9, 32: 0.95})
    assert largest not in caveats({8: 0.9, 32: 0.95}, trial(64, 0, status=Status.OUT_OF_MEMORY))
    assert "batch size tried" not in caveats({1: 0.95, 32: 0.9})
    assert "batch size tried" not in caveats({8: 0.9, 32: 0.95}, examples_seen=(32,), objective_curve=(0.9,))


def test_a_tie_names_the_seeds_of_those_that_tie_not_of_those_clearly_worse():
    results = [
        *study({32: 0.9502, 128: 0.9500}, noise=(0.0, 0.001, -0.001, 0.0005, -0.0005), rates=RATES),
        *study({8: 0.80}, noise=(0.0, 0.001, -0.001), rates=RATES),
    ]
    found = recommend(results, objective=MAX)
    assert verdicts(found) == {8: "lower", 32: "tied", 128: "recommended"}
    assert any("cannot be told apart from 32 with 5 seeds" in reason for reason in found.reasons)


@pytest.mark.parametrize(("gap", "words"), [(2e-3, "about 11 would begin"), (2e-5, "more than 100 would be needed")])
def test_the_seeds_that_would_separate_a_tie_are_told_as_far_as_anyone_would_train_them(gap, words):
    means = {8: 0.95 - gap / 2, 32: 0.95 + gap, 128: 0.95}
    found = recommend(study(means, noise=(0.0, 0.002, -0.002), rates=RATES), objective=MAX)
    assert any(words in reason for reason in found.reasons), found.reasons


def test_counts_hold_every_status():
    counts = count_by_status([trial(8, 0, status=Status.FAILED), trial(8, 1, status=Status.FAILED)])
    assert counts["failed"] == 2
    assert list(counts) == [status.value for status in Status]


def test_fresh_seeds_take_away_the_warning_of_optimism():
    searched = [trial(32, seed, 0.9, learning_rate=rate) for rate in (0.1, 0.01, 0.001) for seed in range(2)]
    confirming = [trial(32, seed, 0.8 + 0.01 * seed, learning_rate=0.01, stage="confirm") for seed in (7, 8, 9)]
    assert any("too good on average" in caveat for caveat in recommend(searched, objective=MAX).caveats)
    found = recommend([*searched, *confirming], objective=MAX)
    assert not any("too good on average" in caveat for caveat in found.caveats)


def test_means_in_the_table_are_adjusted_for_a_missing_seed():
    scores = {8: (0.90, 0.80, 0.701), 32: (0.91, 0.81, None)}
    results = [trial(b, s, y) for b, ys in scores.items() for s, y in enumerate(ys) if y is not None]
    adjusted = recommend(results, objective=MAX).table[1]
    # The seed that 32 lacks is the hardest: its plain mean is .86, beside 8 at that seed it would be about .81.
    assert adjusted.objective_mean == pytest.approx(0.8103, abs=1e-3)


@pytest.mark.parametrize(("seeds", "told"), [(5, False), (8, True)])
def test_an_exact_test_speaks_from_six_seeds(seeds, told):
    noise = (0.01, -0.01, 0.008, -0.006, 0.004, -0.007, 0.009, -0.002)
    results = [trial(8, s, 0.900 + 0.01 * s + 0.001 * (1 + s % 3), examples_per_second=500.0) for s in range(seeds)]
    results += [trial(32, s, 0.900 + 0.01 * s, examples_per_second=2000.0) for s in range(seeds)]
    results += [trial(128, s, 0.7 + noise[s], examples_per_second=500.0) for s in range(seeds)]
    found = recommend(results, objective=MAX, tolerance=0.01)
    assert found.batch_size == 32
    assert any("exact paired permutation test" in caveat for caveat in found.caveats) is told


def test_scores_of_weights_that_were_restored_are_told_with_their_epochs():
    curve = {"examples_seen": range(100, 700, 100), "objective_curve": [0.5] * 6}
    found = recommend(study({8: 0.9, 32: 0.8}, weights_epoch=3, **curve), objective=MAX)
    assert any("scores are those of epoch 3:" in caveat for caveat in found.caveats)
    later = [*study({8: 0.9}, weights_epoch=3, **curve), *study({32: 0.8}, weights_epoch=5, **curve)]
    assert any("scores are those of epochs 3 to 5:" in caveat for caveat in recommend(later, objective=MAX).caveats)
    last = recommend(study({8: 0.9, 32: 0.8}, weights_epoch=6, **curve), objective=MAX)
    assert not any("EarlyStopping" in caveat for caveat in last.caveats)
