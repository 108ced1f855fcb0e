"""What holds of every batch size, learning rate and space, whatever they are made of."""

from __future__ import annotations

import itertools
import math

import keras_tuner
import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from search_spaces import FULL, BatchSize, LearningRate, SearchSpace
from search_spaces.batch_size import parse_batch_sizes
from search_spaces.entry import entries_of
from search_spaces.scaling import Scaling, schedule_batch_size
from tuning.study.encoding import Encoding

sizes = some.integers(1, 4096)
rates = some.floats(1e-6, 10.0)
rules = some.sampled_from(["sqrt", "linear", "constant", "auto"])
optimizers = some.sampled_from(["SGD", "Adam", "RMSprop"])


@given(low=sizes | some.none(), high=sizes | some.none() | some.just(FULL), factor=some.integers(2, 5), n=sizes)
def test_bounds_give_ascending_sizes_within_them_and_the_data(
    low: int | None, high: int | str | None, factor: int, n: int
) -> None:
    assume(low is None or low <= n)
    assume(not isinstance(high, int) or (low or 1) <= high <= n)
    values = BatchSize(low, high, factor).within(n).values()
    assert list(values) == sorted(set(values))
    assert low is None or values[0] == low
    assert values[0] >= 1
    assert values[-1] <= (high if isinstance(high, int) else n)
    assert all(b == factor * a for a, b in itertools.pairwise(values) if b != n)
    if high == FULL:
        assert values[-1] == n


@given(given_sizes=some.lists(sizes | some.just(FULL), min_size=1, max_size=6), n=some.integers(4096, 10_000))
def test_a_list_is_tried_whole_in_order_and_each_size_once(given_sizes: list[int | str], n: int) -> None:
    expected = tuple(sorted({n if size == FULL else int(size) for size in given_sizes}))
    asked = BatchSize.of(*given_sizes)
    assert asked.within(n).values() == expected
    assert asked.within(n).within(n) == asked.within(n)
    assert parse_batch_sizes(", ".join(map(str, given_sizes))).within(n).values() == expected


@given(low=sizes, factor=some.integers(2, 4), length=some.integers(0, 6), limit=sizes)
def test_a_cap_leaves_exactly_the_sizes_up_to_it(low: int, factor: int, length: int, limit: int) -> None:
    asked = BatchSize(low, low * factor**length, factor)
    assert len(asked.values()) == length + 1
    if low > limit:
        with pytest.raises(ValueError, match=f"must not exceed {limit}"):
            asked.capped(limit)
    else:
        assert asked.capped(limit).values() == tuple(size for size in asked.values() if size <= limit)


@given(low=sizes, high=sizes, n=sizes)
def test_what_suits_other_data_leaves_eight_updates_and_no_more_than_was_asked(low: int, high: int, n: int) -> None:
    assume(low <= high)
    values = BatchSize(low, high).suiting(n).values()
    assert values
    assert values[-1] <= high
    assert values[-1] <= max(1, n // 8)


@given(base=rates, at=sizes, rule=rules, optimizer=optimizers, batch_size=sizes, factor=some.integers(1, 64))
def test_rates_follow_a_power_of_the_batch_size(
    base: float, at: int, rule: str, optimizer: str, batch_size: int, factor: int
) -> None:
    asked = LearningRate(base, at_batch_size=at, rule=rule)
    exponent = {"sqrt": 0.5, "linear": 1.0, "constant": 0.0, "auto": 1.0 if optimizer == "SGD" else 0.5}[rule]
    smaller, larger = (asked.centre(size, optimizer=optimizer) for size in (batch_size, factor * batch_size))
    assert asked.centre(at, optimizer=optimizer) == base
    assert smaller <= larger
    assert larger / smaller == pytest.approx(factor**exponent)
    own = LearningRate(at_batch_size=at, rule=rule).centre(batch_size, optimizer=optimizer, model_rate=base)
    assert own == smaller  # a rate of the model's own follows likewise


@given(spread=some.lists(some.floats(0.01, 100.0), min_size=1, max_size=5), batch_size=sizes)
def test_a_spread_is_around_the_centre_in_order(spread: list[float], batch_size: int) -> None:
    asked = LearningRate(1e-3, spread=tuple(spread))
    found = asked.at(batch_size, optimizer="Adam")
    centre = asked.centre(batch_size, optimizer="Adam")
    assert list(found) == sorted(found)
    assert [rate / centre for rate in found] == pytest.approx(sorted(spread))


@given(batch_size=sizes, at=sizes, rate=rates, rule=rules, decay=some.floats(1e-6, 1.0))
def test_weight_decay_shrinks_an_epoch_alike_at_every_batch_size(
    batch_size: int, at: int, rate: float, rule: str, decay: float
) -> None:
    own = LearningRate(rate, at_batch_size=at, rule=rule).centre(batch_size, optimizer="Adam")
    factor = Scaling(at, reference_rate=rate).decay_factor(batch_size, own)
    assert own * decay * factor / batch_size == pytest.approx(rate * decay / at)  # per example


@given(updates=some.integers(1, 10**6), examples=some.integers(1, 10**9))
def test_a_schedule_that_spans_a_training_ends_with_it_at_every_batch_size(updates: int, examples: int) -> None:
    at = schedule_batch_size("training", at=32, updates=float(updates), examples=examples)
    assert at is not None
    assert updates * at == pytest.approx(examples)


def spaces() -> some.SearchStrategy[SearchSpace]:
    """Spaces of up to 5 sizes, up to 3 rates, and up to three hyperparameters of a model, one of them conditional."""

    def make(batch_sizes: list[int], chosen: list[float], units: list[int], names: list[str], step: int) -> SearchSpace:
        hp = keras_tuner.HyperParameters()
        hp.Choice("kind", names)
        hp.Int("width", 8, 8 + 3 * step, step=step)
        with hp.conditional_scope("kind", names[:1]):
            hp.Choice("units", units)
        learning_rate = LearningRate.choices(*chosen) if chosen else LearningRate()
        return SearchSpace(
            BatchSize.of(*batch_sizes), learning_rate, model_rate=0.001, entries=entries_of(hp.space) if step else ()
        )

    return some.builds(
        make,
        batch_sizes=some.lists(sizes, min_size=1, max_size=5),
        chosen=some.lists(rates, max_size=3),
        units=some.lists(some.integers(1, 99), min_size=1, max_size=3, unique=True),
        names=some.lists(some.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True),
        step=some.integers(1, 4),
    )


@given(space=spaces())
def test_a_grid_has_every_combination_once_and_batch_sizes_innermost(space: SearchSpace) -> None:
    grid = space.grid()
    assert len(set(grid)) == len(grid)
    batch_sizes = space.batch_size.values()
    assert [setting.batch_size for setting in grid] == list(batch_sizes) * (len(grid) // len(batch_sizes))
    by_size = {size: {(s.hyperparameters) for s in grid if s.batch_size == size} for size in batch_sizes}
    assert len({frozenset(own) for own in by_size.values()}) == 1
    n_rates = len(space.learning_rates(batch_sizes[0]))
    assert len(grid) == len(batch_sizes) * n_rates * len(by_size[batch_sizes[0]])


@given(space=spaces())
def test_settings_travel_to_optuna_and_back(space: SearchSpace) -> None:
    encoding = Encoding(space, search_rates=False)
    for setting in space.grid():
        params, distributions = encoding.encode(setting)
        assert params.keys() == distributions.keys()
        assert all(distributions[name]._contains(distributions[name].to_internal_repr(params[name])) for name in params)
        assert encoding.decode(params) == setting


@given(space=spaces(), offset=some.floats(-1.0, 1.0), data=some.data())
def test_a_searched_rate_travels_to_optuna_and_back(space: SearchSpace, offset: float, data: some.DataObject) -> None:
    assume(space.learning_rate is not None and not space.learning_rate.values)
    encoding = Encoding(space, search_rates=True)
    first = data.draw(some.sampled_from(space.grid()))
    params, _ = encoding.encode(first)
    setting = encoding.decode({**params, "learning_rate_offset": offset})
    again, _ = encoding.encode(setting)
    assert math.isclose(again["learning_rate_offset"], offset, abs_tol=1e-9)
    assert (setting.batch_size, setting.hyperparameters) == (first.batch_size, first.hyperparameters)
