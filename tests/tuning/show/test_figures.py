"""Each figure with little and with odd data."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tuning.show.canvas import sketch
from tuning.show.cost_figures import draw_cost, draw_memory, draw_noise, draw_throughput, draw_updates
from tuning.show.score_figures import draw_curves, draw_quality, draw_rates, draw_trade_off


def labels(figure: Any) -> list[str]:
    return list(figure.axes[0].get_legend_handles_labels()[1])


def test_quality_without_a_known_error_says_no_error() -> None:
    figure = sketch(lambda axes: draw_quality(axes, {8: [0.5]}, {8: (0.5, None)}, objective="score", chosen=8))
    assert "recommended" in labels(figure)
    assert not any("error" in label for label in labels(figure))


def test_quality_shows_what_was_compared_and_tells_where_a_far_one_lies() -> None:
    means = {8: (0.97, 0.002), 16: (0.96, 0.002), 32: (0.17, None)}
    axes = sketch(lambda axes: draw_quality(axes, {32: [0.17]}, means, objective="score", chosen=8)).axes[0]
    assert axes.get_ylim()[0] > 0.9
    assert [text.get_text() for text in axes.texts] == ["0.17 ▼"]
    near = sketch(lambda axes: draw_quality(axes, {}, {8: (0.9, 0.01), 16: (0.8, 0.01)}, objective="score"))
    assert not near.axes[0].texts


def test_cost_marks_what_missed_the_target() -> None:
    figure = sketch(lambda axes: draw_cost(axes, {8: 1.0}, unit="s", by_seed={8: [1.0]}, missed={16: [2.0]}, chosen=8))
    assert "target not reached: more" in labels(figure)


def test_the_error_of_a_cost_is_a_factor() -> None:
    figure = sketch(lambda axes: draw_cost(axes, {8: 1.0, 16: 2.0}, unit="s", log_errors={8: math.log(2)}, chosen=16))
    assert labels(figure) == ["mean ± standard error", "recommended"]
    (bar,) = (lines for lines in figure.axes[0].containers[0].lines[2])
    assert bar.get_segments()[0][:, 1] == pytest.approx([0.5, 2.0])


def test_updates_draw_the_interval_only_with_both_ends() -> None:
    def patches(high: float | None) -> int:
        figure = sketch(lambda axes: draw_updates(axes, {8: [9.0]}, critical=20.0, interval=(10.0, high)))
        return len(figure.axes[0].patches)

    assert patches(30.0) == patches(None) + 1


def test_throughput_names_each_knee() -> None:
    rates_by_loop = {"plain": {8: 10.0, 16: 20.0}, "fast": {8: 100.0}}
    figure = sketch(lambda axes: draw_throughput(axes, rates_by_loop, {"plain": 16, "fast": None}))
    assert labels(figure) == ["plain", "knee at 16", "fast"]


def test_a_limit_far_above_does_not_flatten_the_memory() -> None:
    def top(limit: float) -> float:
        figure = sketch(lambda axes: draw_memory(axes, {8: 2**20}, limit_bytes=limit))
        return float(figure.axes[0].get_ylim()[1])

    assert top(2**21) > 2
    assert top(2**40) < 2


def test_curves_average_the_seeds_where_all_were_evaluated_and_stay_small() -> None:
    long = list(range(1, 5001))
    pair = [(long, [0.0] * 5000), (long[:4000], [1.0] * 4000)]
    figure = sketch(lambda axes: draw_curves(axes, {8: pair}, objective="score"))
    line = figure.axes[0].lines[0]
    assert len(line.get_xdata()) <= 120
    assert max(line.get_xdata()) == 4000
    assert set(line.get_ydata()) == {0.5}


def test_noise_shows_bounds_values_and_what_to_compare_with() -> None:
    points = [(0.0, None, 5.0, None), (10.0, 8.0, 6.0, 12.0)]
    figure = sketch(lambda axes: draw_noise(axes, {"probe": points, "trial": [(5.0, 7.0, None, None)]}, critical=90))
    assert {"at least", "probe", "trial", "critical batch size 90"} == set(labels(figure))


def test_rates_ring_the_best_and_cross_what_failed() -> None:
    figure = sketch(lambda axes: draw_rates(axes, {(8, 0.1): 0.5}, {8: 0.1}, objective="x", failed={(8, 1.0): "nan"}))
    assert labels(figure) == ["best", "no score"]


def test_trade_offs_name_their_batch_sizes() -> None:
    points = {8: (1.0, 0.9, 0.01), 16: (2.0, 0.8, None)}
    figure = sketch(lambda axes: draw_trade_off(axes, points, [8], objective="x", unit="s", chosen=8))
    assert [text.get_text() for text in figure.axes[0].texts] == ["8", "16"]
