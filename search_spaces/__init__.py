"""What may be tried: pure declarations. Nothing here imports `tuning`."""

from search_spaces.batch_size import FULL, BatchSize
from search_spaces.data import Data, DataError
from search_spaces.learning_rate import LearningRate
from search_spaces.space import SearchSpace, Setting
from search_spaces.stream import Stream
from search_spaces.workload import Workload, WorkloadError, load_workload

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
