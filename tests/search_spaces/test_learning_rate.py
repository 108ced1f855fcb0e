import pytest

from search_spaces import LearningRate
from search_spaces.learning_rate import parse_learning_rates


@pytest.mark.parametrize(("rule", "rate"), [("sqrt", 2e-3), ("linear", 4e-3), ("constant", 1e-3)])
def test_each_rule_follows_the_batch_size(rule: str, rate: float) -> None:
    assert LearningRate(1e-3, rule=rule).centre(128, optimizer="Adam") == pytest.approx(rate)


def test_auto_is_linear_for_sgd_and_sqrt_for_normalised_updates() -> None:
    assert LearningRate().rule_for("SGD") == "linear"
    assert LearningRate().rule_for("AdamW") == "sqrt"


def test_the_models_own_rate_is_right_at_keras_batch_size() -> None:
    assert LearningRate().at(32, optimizer="Adam", model_rate=0.005) == (0.005,)
    assert LearningRate().at(8, optimizer="Adam", model_rate=0.005) == (0.0025,)


def test_a_spread_tries_several_rates_around_the_centre() -> None:
    assert LearningRate(1e-2, spread=(3.0, 1.0, 1 / 3)).at(32, optimizer="SGD") == pytest.approx((1e-2 / 3, 1e-2, 3e-2))


def test_choices_hold_at_every_batch_size() -> None:
    assert parse_learning_rates("1e-2,1e-3").at(512, optimizer="SGD") == (1e-3, 1e-2)
