"""Keras's fit options in a search: what is let through, what is refused and why."""

import pytest

from tuning.loops.fit_options import read_fit_options


def test_options_without_effect_are_let_through():
    assert read_fit_options({"verbose": 2, "shuffle": True, "validation_split": None}).class_weight is None
    assert read_fit_options(None).class_weight is None


def test_class_weight_is_kept():
    assert read_fit_options({"class_weight": {0: 2.0}}).class_weight == {0: 2.0}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"batch_size": 32}, "batch_size=32: it is what the search tunes"),
        ({"validation_split": 0.2}, "split the data beforehand"),
        ({"shuffle": False}, "by its own rules"),
        ({"workers": 4}, "got workers=4"),
        ({"class_weight": [1, 2]}, "must map class labels"),
    ],
)
def test_impossible_options_are_refused_with_the_reason(options, reason):
    with pytest.raises(ValueError, match=reason):
        read_fit_options(options)
