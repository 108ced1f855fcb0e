"""MLflow's autologging, which a workload or a notebook may have switched on, kept off the trainings of a search."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_autologging() -> Iterator[None]:
    """Keep `mlflow.autolog()` from recording, in a run of its own, what the tracker records already.

    What was switched on stays so outside. Nothing is imported where MLflow has not been.
    """
    if "mlflow" not in sys.modules:
        yield
        return
    from mlflow.utils.autologging_utils import disable_autologging  # in MLflow 2.22 to 3.17

    with disable_autologging():
        yield
