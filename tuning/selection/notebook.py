"""A recommendation as a notebook shows it: the words, the table, the scores, and what a better score costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuning.figures import quality, trade_off
from tuning.figures.canvas import image_tag, sketch
from tuning.figures.fragments import heading, paragraphs, table, warnings
from tuning.selection.table import COLUMNS, cells

if TYPE_CHECKING:
    from tuning.selection.recommendation import Recommendation


def to_html(found: Recommendation, more: Sequence[str] = ()) -> str:
    """The recommendation as HTML.

    Args:
        found: What to show.
        more: Further sentences, after the reasons.
    """
    first, *rest = found.reasons
    verdicts = [row.verdict for row in found.table]
    return "".join(
        [
            heading(first),
            paragraphs([" ".join([*rest, *more])]),
            warnings(found.caveats),
            table(COLUMNS, [cells(row) for row in found.table], strong=verdicts.index("recommended")),
            _quality(found),
            _trade_off(found),
        ]
    )


def _quality(found: Recommendation) -> str:
    means = {
        row.batch_size: (row.objective_mean, row.objective_se) for row in found.table if row.objective_mean is not None
    }
    picture = sketch(
        lambda axes: quality.draw(axes, {}, means, objective=found.objective, chosen=found.batch_size),
    )
    return image_tag(picture, f"{found.objective} by batch size")


def _trade_off(found: Recommendation) -> str:
    errors = {row.batch_size: row.objective_se for row in found.table}
    offers = found.explanation.pareto if found.explanation is not None else ()
    points = {o.batch_size: (o.cost, o.objective, errors[o.batch_size]) for o in offers if o.cost is not None}
    unit = found.cost
    if unit is None or len(points) < 2:
        return ""
    efficient = [offer.batch_size for offer in offers if offer.efficient and offer.batch_size in points]
    picture = sketch(
        lambda axes: trade_off.draw(
            axes, points, efficient, objective=found.objective, unit=unit, chosen=found.batch_size
        )
    )
    return image_tag(picture, f"{found.objective} by {unit}")
