"""What may be tried: pure declarations. Nothing here imports `tuning`.

What is named here is imported on first use, so that the command line speaks before NumPy is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.batch_size import FULL, BatchSize
    from search_spaces.data import Data, DataError
    from search_spaces.learning_rate import LearningRate
    from search_spaces.space import SearchSpace, Setting
    from search_spaces.stream import Stream
    from search_spaces.workload import Workload, WorkloadError, load_workload

_HOMES = {
    "FULL": "search_spaces.batch_size",
    "BatchSize": "search_spaces.batch_size",
    "Data": "search_spaces.data",
    "DataError": "search_spaces.data",
    "LearningRate": "search_spaces.learning_rate",
    "SearchSpace": "search_spaces.space",
    "Setting": "search_spaces.space",
    "Stream": "search_spaces.stream",
    "Workload": "search_spaces.workload",
    "WorkloadError": "search_spaces.workload",
    "load_workload": "search_spaces.workload",
}

__all__ = [
    "FULL",
    "BatchSize",
    "Data",
    "DataError",
    "LearningRate",
    "SearchSpace",
    "Setting",
    "Stream",
    "Workload",
    "WorkloadError",
    "load_workload",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'search_spaces' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
