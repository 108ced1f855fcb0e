"""Workers as the commands start them; what that takes is loaded only then, after the first words."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuning.run.asking import Question
    from tuning.run.executor import Executor
    from tuning.run.ray_starter import RayStarter
    from tuning.run.starter import Starter


def starting_workers(*given: Any, **rest: Any) -> AbstractContextManager[Starter | RayStarter]:
    """Return workers that have just been started; see `tuning.search.workers.starting_workers`."""
    from tuning.search import workers

    return workers.starting_workers(*given, **rest)


def running_executor(*given: Any, **rest: Any) -> AbstractContextManager[Executor]:
    """Return workers on devices of this machine or of a cluster; see `tuning.search.workers.running_executor`."""
    from tuning.search import workers

    return workers.running_executor(*given, **rest)


def ask_for_model(executor: Executor) -> Question:
    """Have a worker build the model; see `tuning.search.preparation.ask_for_model`."""
    from tuning.search import preparation

    return preparation.ask_for_model(executor)
