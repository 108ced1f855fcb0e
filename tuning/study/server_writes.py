"""ServerWrites: a trial's start and its end as one message each to PostgreSQL, where Optuna takes two dozen.

Every message waits for the network, and for the driver's other threads to let go of Python. The tables and what they
come to hold are those of optuna 5.0.0; other versions are written by Optuna itself.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility, distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.exc import DBAPIError

_START = """
SELECT study_id FROM studies WHERE study_id = %s FOR UPDATE;
WITH trial AS (
    INSERT INTO trials (study_id, number, state, datetime_start)
    SELECT %s, COALESCE((SELECT number + 1 FROM trials WHERE study_id = %s ORDER BY trial_id DESC LIMIT 1), 0), %s, %s
    RETURNING trial_id
), param AS (
    INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT trial_id, name, value, distribution
    FROM trial, UNNEST(%s::text[], %s::float8[], %s::text[]) AS given (name, value, distribution)
), attribute AS (
    INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT trial_id, key, value FROM trial, UNNEST(%s::text[], %s::text[]) AS given (key, value)
)
SELECT trial_id FROM trial
"""
"""Optuna's lock comes first, in a statement of its own, so that the next one sees all that was written before it."""

_END = """
WITH trial AS (
    UPDATE trials SET state = %s, datetime_complete = %s WHERE trial_id = %s AND state = 'RUNNING' RETURNING trial_id
), attribute AS (
    INSERT INTO trial_user_attributes (trial_id, key, value_json)
    SELECT trial_id, key, value FROM trial, UNNEST(%s::text[], %s::text[]) AS given (key, value)
    ON CONFLICT (trial_id, key) DO UPDATE SET value_json = EXCLUDED.value_json
), curve AS (
    INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT trial_id, step, value, 'FINITE' FROM trial, UNNEST(%s::int[], %s::float8[]) AS given (step, value)
    ON CONFLICT (trial_id, step) DO UPDATE SET intermediate_value = EXCLUDED.intermediate_value
), score AS (
    INSERT INTO trial_values (trial_id, objective, value, value_type)
    SELECT trial_id, 0, value, 'FINITE' FROM trial, UNNEST(%s::float8[]) AS given (value)
    ON CONFLICT (trial_id, objective) DO UPDATE SET value = EXCLUDED.value
)
SELECT trial_id FROM trial
"""


@dataclass(frozen=True)
class Ending:
    """What Optuna is told of a trial that has ended.

    Args:
        state: How it ended.
        value: The objective, if it completed.
        attributes: User attributes that are added.
        curve: The objective by step.
    """

    state: TrialState
    value: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    curve: Mapping[int, float] = field(default_factory=dict)

    @property
    def is_finite(self) -> bool:
        """Whether all its numbers are; Optuna keeps others as words."""
        return all(math.isfinite(number) for number in (*self.curve.values(), *self.values))

    @property
    def values(self) -> tuple[float, ...]:
        """The objective, if there is one."""
        return () if self.value is None else (self.value,)


class ServerWrites:
    """Writes trials over a connection of its own, on which nothing else waits and no transaction stays open.

    Args:
        engine: Of the server.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._distributions: dict[tuple[int, str], BaseDistribution] = {}

    @property
    def are_possible(self) -> bool:
        """Whether the server, its driver and Optuna are those that this is written for."""
        is_known = optuna.__version__.startswith("5.")
        return is_known and self._engine.name == "postgresql" and self._engine.driver == "psycopg"

    def may_start(self, study_id: int, trial: FrozenTrial | None) -> bool:
        """Return whether a trial can be started here: Optuna has compared the first of each parameter with the study's.

        Raises:
            ValueError: If a parameter has another distribution than before.
        """
        if trial is None or trial.state is not TrialState.RUNNING:
            return False
        known = [self._distributions.get((study_id, name)) for name in trial.params]
        for before, now in zip(known, trial.distributions.values(), strict=True):
            if before is not None:
                check_distribution_compatibility(before, now)
        return self.are_possible and None not in known

    def know(self, study_id: int, trial: FrozenTrial | None) -> None:
        """Keep the distributions of a trial that Optuna has written."""
        if trial is not None:
            self._distributions |= {(study_id, name): each for name, each in trial.distributions.items()}

    def start(self, study_id: int, trial: FrozenTrial) -> int:
        """Write a trial that starts, and return Optuna's number of it in the whole storage."""
        names = list(trial.params)
        distributions = [trial.distributions[name] for name in names]
        values = [
            float(each.to_internal_repr(trial.params[name])) for each, name in zip(distributions, names, strict=True)
        ]
        result = self._execute(
            _START,
            *(study_id, study_id, study_id, trial.state.name, _now()),
            *(names, values, [distribution_to_json(each) for each in distributions]),
            *_as_columns(trial.user_attrs),
        )
        cursor = result.cursor
        cursor.nextset()  # after that of the lock
        written = cursor.fetchone()
        assert written is not None
        return int(written[0])

    def end(self, trial_id: int, ending: Ending) -> None:
        """Write how a trial ended.

        Raises:
            UpdateFinishedTrialError: If it had ended before.
        """
        result = self._execute(
            _END,
            *(ending.state.name, _now(), trial_id),
            *_as_columns(ending.attributes),
            *(list(ending.curve), list(map(float, ending.curve.values())), list(map(float, ending.values))),
        )
        if result.first() is None:
            raise UpdateFinishedTrialError(f"Trial {trial_id} has already finished and can not be updated.")

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _execute(self, statements: str, *values: Any) -> CursorResult[Any]:
        """Send statements, which are one transaction; a connection that fails is given up."""
        if self._connection is None:
            self._connection = self._connect()
        try:
            return self._connection.exec_driver_sql(statements, values)
        except DBAPIError:
            self.close()
            raise

    def _connect(self) -> Connection:
        """Return a connection that sends values within the statements, of which there may be several then."""
        from psycopg import ClientCursor

        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        driven: Any = connection.connection.driver_connection
        driven.cursor_factory = ClientCursor
        return connection


def _as_columns(attributes: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str]]:
    return list(attributes), [json.dumps(value) for value in attributes.values()]


def _now() -> datetime.datetime:
    """Return the time as Optuna keeps it."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
