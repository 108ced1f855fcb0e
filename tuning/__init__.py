"""Which batch size should I train with, on this model, this data, this machine, and why?

What is named here is imported on first use, so that the command line starts without TensorFlow.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning.finished import load_study
    from tuning.stats.recommendation import NothingToRecommend, Recommendation, recommend
    from tuning.trial import Status
    from tuning.tuners import BayesianOptimization, GridSearch, StagedSearch

_HOMES = {
    "BayesianOptimization": "tuning.tuners",
    "GridSearch": "tuning.tuners",
    "NothingToRecommend": "tuning.stats.recommendation",
    "Recommendation": "tuning.stats.recommendation",
    "StagedSearch": "tuning.tuners",
    "Status": "tuning.trial",
    "load_study": "tuning.finished",
    "recommend": "tuning.stats.recommendation",
}

__all__ = [
    "BayesianOptimization",
    "GridSearch",
    "NothingToRecommend",
    "Recommendation",
    "StagedSearch",
    "Status",
    "load_study",
    "recommend",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tuning' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def _draw_recommendations_in_notebooks() -> None:
    """Statistics know nothing of pictures, so IPython is told here how a `Recommendation` draws itself."""
    if "IPython" not in sys.modules:
        return
    shell = sys.modules["IPython"].get_ipython()
    if shell is not None:
        formatter = shell.display_formatter.formatters["text/html"]
        formatter.for_type_by_name("tuning.stats.recommendation", "Recommendation", _to_html)


def _to_html(recommendation: Any) -> str:
    from tuning.show.answer import to_html  # draws, which takes a second to load

    return to_html(recommendation)


_draw_recommendations_in_notebooks()
