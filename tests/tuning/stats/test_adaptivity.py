from selection_helpers import MAX, RATES, study, trial

from tuning.stats.next_seed import sizes_worth_another_seed

NOISY = (0.02, -0.01, -0.01)


def test_a_clear_study_needs_no_more_seeds():
    assert sizes_worth_another_seed(study({8: 0.95, 32: 0.80, 128: 0.60}, rates=RATES), objective=MAX) == ()


def test_an_evident_tie_needs_no_more_seeds():
    results = study({8: 0.900, 32: 0.9001, 128: 0.9002, 512: 0.9001}, noise=NOISY, rates=RATES)
    assert sizes_worth_another_seed(results, objective=MAX) == ()


def test_a_doubtful_study_goes_on_with_those_that_are_not_worse():
    results = study({8: 0.93, 32: 0.92, 128: 0.91, 512: 0.80}, noise=NOISY, rates=RATES)
    going_on = sizes_worth_another_seed(results, objective=MAX)
    assert 8 in going_on
    assert 512 not in going_on


def test_no_size_gets_more_seeds_than_the_most():
    results = study({8: 0.93, 32: 0.91, 128: 0.905}, noise=NOISY, rates=RATES)
    assert sizes_worth_another_seed(results, objective=MAX, most_seeds=3) == ()


def test_unknown_noise_asks_for_seeds_of_every_size():
    assert sizes_worth_another_seed(study({8: 0.9, 32: 0.5}, noise=(0.0,)), objective=MAX) == (8, 32)


def test_nothing_to_repeat_without_two_sizes():
    assert sizes_worth_another_seed([trial(8, 0, 0.9)], objective=MAX) == ()
    assert sizes_worth_another_seed([], objective=MAX) == ()
