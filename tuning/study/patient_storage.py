"""PatientStorage: a study on a database server, which may be restarted while a search goes on."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.exc import DBAPIError

from tuning.study.server_writes import Ending, ServerWrites

PATIENCE_S = 120.0
"""A server that is away for so long ends the search, which goes on by the same command."""
_PAUSE_S = 0.5
_LOG = logging.getLogger(__name__)

_CALLS = (
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
"""What a driver asks of its storage while it searches, beside starts and ends of trials. Each may be done twice with
the effect of once."""


class PatientStorage(RDBStorage):
    """Repeats what a lost connection has cut off, until the server is back; whatever else fails, fails at once.

    Connections are tried before they are used (SQLAlchemy's `pool_pre_ping`), so that a restart between two calls goes
    unnoticed. That of `ServerWrites` is not: what fails on it is sent again over another one.

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
        self._writes = ServerWrites(self.engine)
        for name in _CALLS:
            setattr(self, name, functools.partial(self._repeat, getattr(super(), name)))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Start a trial.

        One whose answer was lost gets a twin of the same name, and `Study.open` takes one of the two.
        """
        return int(self._repeat(self._create_new_trial_at_once, study_id, template_trial))

    def end_trial(self, trial_id: int, ending: Ending) -> None:
        """Write how a trial ended, and all that is known of it by then.

        Raises:
            UpdateFinishedTrialError: If it had ended before.
        """
        if not (self._writes.are_possible and ending.is_finite):
            end_trial(self, trial_id, ending)
            return
        self._repeat_end(lambda: self._writes.end(trial_id, ending))

    def set_trial_state_values(self, trial_id: int, state: Any, values: Any = None) -> bool:
        """End a trial; see `end_trial`."""
        ended = self._repeat_end(lambda: super(PatientStorage, self).set_trial_state_values(trial_id, state, values))
        return ended is not False

    def remove_session(self) -> None:
        """Let go of the connections of this thread, and of that of `ServerWrites`."""
        super().remove_session()
        self._writes.close()

    def _create_new_trial_at_once(self, study_id: int, trial: FrozenTrial | None) -> int:
        if trial is not None and self._writes.may_start(study_id, trial):
            return self._writes.start(study_id, trial)
        trial_id = super().create_new_trial(study_id, trial)
        self._writes.know(study_id, trial)
        return trial_id

    def _repeat_end(self, end: Callable[[], Any]) -> Any:
        """Return what ending a trial returns; one found ended at a repetition had been ended by an earlier attempt."""
        attempts = 0

        def attempt() -> Any:
            nonlocal attempts
            attempts += 1
            try:
                return end()
            except UpdateFinishedTrialError:
                if attempts == 1:
                    raise
                return True

        return self._repeat(attempt)

    def _repeat(self, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Return what a call returns, which is made again while the server is away."""
        deadline = self._clock() + PATIENCE_S
        attempts = 0
        while True:
            try:
                return call(*args, **options)
            except (StorageInternalError, DBAPIError) as error:
                if not is_cut_off(error) or self._clock() >= deadline:
                    raise
            attempts += 1
            if attempts == 1:  # a connection that was kept may have ended long ago; another one is tried at once
                continue
            if attempts == 2:
                _LOG.warning(f"The study's database does not answer; waiting up to {PATIENCE_S:g} s for it.")
            self._sleep(_PAUSE_S)


def is_cut_off(error: BaseException | None) -> bool:
    """Return whether a connection was lost, or none could be made, which says nothing of what was asked."""
    while error is not None:
        if isinstance(error, DBAPIError):
            return error.connection_invalidated or error.statement is None
        error = error.__cause__
    return False


def end_trial(storage: BaseStorage, trial_id: int, ending: Ending) -> None:
    """Write how a trial ended, in as few calls as any storage of Optuna's takes.

    Args:
        storage: Of the study.
        trial_id: Optuna's.
        ending: What is told; its attributes are written before its state, so that none that has ended lacks them.

    Raises:
        UpdateFinishedTrialError: If it had ended before.
    """
    for name, value in ending.attributes.items():
        storage.set_trial_user_attr(trial_id, name, value)
    for step, value in ending.curve.items():
        storage.set_trial_intermediate_value(trial_id, step, value)
    storage.set_trial_state_values(trial_id, ending.state, ending.values or None)
