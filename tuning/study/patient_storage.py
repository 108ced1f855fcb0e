"""PatientStorage: a study on a database server, which may be restarted while a search goes on."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import DBAPIError

PATIENCE_S = 120.0
"""A server that is away for so long ends the search, which goes on by the same command."""
_PAUSE_S = 0.5
_LOG = logging.getLogger(__name__)

_CALLS = (
    "create_new_trial",
    "get_all_trials",
    "get_n_trials",
    "get_study_id_from_name",
    "get_study_user_attrs",
    "get_trial_id_from_study_id_trial_number",
    "set_study_system_attr",
    "set_study_user_attr",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
)
"""What a driver asks of its storage while it searches. Each may be done twice with the effect of once, but for a new
trial: a twin that was written without the driver's knowing has the same name, and `Study.open` takes one of the two."""


class PatientStorage(RDBStorage):
    """Repeats what a lost connection has cut off, until the server is back; whatever else fails, fails at once.

    Connections are tried before they are used (SQLAlchemy's `pool_pre_ping`), so that a restart between two calls goes
    unnoticed.

    Args:
        url: The address of the server.
        clock: In seconds.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(url, engine_kwargs={"pool_pre_ping": True})
        self._clock, self._sleep = clock, sleep
        for name in _CALLS:
            setattr(self, name, functools.partial(self._repeat, getattr(super(), name)))

    def set_trial_state_values(self, trial_id: int, state: Any, values: Any = None) -> bool:
        """End a trial; one that has ended, at the second attempt, had been ended by the first."""
        attempts = 0

        def end() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return super(PatientStorage, self).set_trial_state_values(trial_id, state, values)
            except RuntimeError:  # Optuna's own for a trial that has ended
                if attempts == 1:
                    raise
                return True

        return bool(self._repeat(end))

    def _repeat(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return what a call returns, which is made again while the server is away."""
        deadline = self._clock() + PATIENCE_S
        told = False
        while True:
            try:
                return call(*args, **options)
            except (StorageInternalError, DBAPIError) as error:
                if not is_cut_off(error) or self._clock() >= deadline:
                    raise
            if not told:
                _LOG.warning(f"The study's database does not answer; waiting up to {PATIENCE_S:g} s for it.")
                told = True
            self._sleep(_PAUSE_S)


def is_cut_off(error: BaseException | None) -> bool:
    """Return whether a connection was lost, or none could be made, which says nothing of what was asked."""
    while error is not None:
        if isinstance(error, DBAPIError):
            return error.connection_invalidated or error.statement is None
        error = error.__cause__
    return False
