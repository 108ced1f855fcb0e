"""Which batch size should I train with, on this model, this data, this machine, and why?

What is named here is imported on first use, so that the command line starts without TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning.selection.recommendation import Recommendation, recommend
    from tuning.staged_search import StagedSearch
    from tuning.trial import Status
    from tuning.tuners import BayesianOptimization, GridSearch

_HOMES = {
    "BayesianOptimization": "tuning.tuners",
    "GridSearch": "tuning.tuners",
    "Recommendation": "tuning.selection.recommendation",
    "StagedSearch": "tuning.staged_search",
    "Status": "tuning.trial",
    "recommend": "tuning.selection.recommendation",
}

__all__ = ["BayesianOptimization", "GridSearch", "Recommendation", "StagedSearch", "Status", "recommend"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tuning' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
