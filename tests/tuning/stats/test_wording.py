import pytest

from tuning.stats.reasons import duration, listing, number, percent, plural, score


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (0.00123456, "0.00123"),
        (12.345, "12.3"),
        (1234.5, "1,230"),
        (3_400_000, "3,400,000"),
        (1.5e-7, "1.50e-07"),
        (2.5e12, "2.50e+12"),
        (-0.25, "-0.250"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_keep_three_digits(value, words):
    assert number(value) == words


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [(0.951234, 0.0021, "0.9512"), (0.951234, 0.03, "0.951"), (3.14159, None, "3.142"), (12.0, 0.0, "12")],
)
def test_scores_show_what_their_error_supports(value, error, words):
    assert score(value, error) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0123, "0.012 seconds"),
        (5, "5.0 seconds"),
        (42, "42 seconds"),
        (119, "119 seconds"),
        (150, "2.5 minutes"),
        (7200, "2.0 hours"),
        (200_000, "2.3 days"),
    ],
)
def test_durations_use_the_largest_unit_of_which_there_are_two(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "less than 1 %"), (0.07, "7 %"), (0.996, "more than 99 %"), (0.5, "50 %")]
)
def test_chances_are_never_certain(share, words):
    assert percent(share) == words


def test_lists_and_plurals():
    assert listing([8]) == "8"
    assert listing([8, 16]) == "8 and 16"
    assert listing([8, 16, 32]) == "8, 16 and 32"
    assert plural(1, "seed") == "1 seed"
    assert plural(3, "seed") == "3 seeds"
    assert plural(2, "batch", "batches") == "2 batches"
