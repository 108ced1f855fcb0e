"""The final model in MLflow: whether it can go there is found out before the training."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, Any

from tuning.passwords import without_passwords

if TYPE_CHECKING:
    from tuning.loops.final_fit import Fitted
    from tuning.record.final_run import LoggedModel
    from tuning.stats.fresh_seed import FreshScore
    from tuning.trial import Trial


def add_options(parser: argparse._ActionsContainer) -> None:
    """Declare what becomes of the model in MLflow."""
    from tuning.commands.telling import add_tracking_uri
    from tuning.commands.values import word

    about = "also make it the next version of this model in MLflow's registry (default: log it, register nothing)"
    parser.add_argument("--register", type=word, metavar="NAME", help=about)
    add_tracking_uri(parser)


def place_of(asked: argparse.Namespace) -> str | None:
    """Return the MLflow store that is to hold the model; None, with a warning, where none can.

    Raises:
        ValueError: If the model is to be registered, and cannot be.
    """
    from tuning.record.final_run import check_model_name, place_for
    from tuning.record.store import TrackingError

    if asked.register is not None:
        check_model_name(asked.register)
    try:
        return place_for(asked.tracking_uri, asked.study)
    except TrackingError as error:
        if asked.register is not None:
            raise
        _warn(error)
        return None


def log_model(
    place: str | None,
    asked: argparse.Namespace,
    trial: Trial,
    fitted: Fitted,
    fresh: FreshScore,
    model: Any,
    examples: tuple[Any, Any],
) -> LoggedModel | None:
    """Log the model, and return where it is; None, with a warning, where it is nowhere.

    Args:
        place: From `place_of`.
        asked: The command's options.
        trial: What was trained.
        fitted: How that went.
        fresh: Its score beside the study's.
        model: The Keras model.
        examples: Inputs and predictions.
    """
    from tuning.record.final_run import FinalRun, log_final_run
    from tuning.record.store import TrackingError

    if place is None:
        return None
    low, high = fresh.interval or (None, None)
    numbers = {"final/score": fresh.score, "final/expected_from": low, "final/expected_to": high}
    command = without_passwords(f"batch-size {shlex.join(sys.argv[1:])}")
    made = FinalRun(trial, fitted.epochs, fitted.n_train, fresh.tell(), numbers, command)
    try:
        return log_final_run(place, asked.study, made, model, examples, register=asked.register)
    except TrackingError as error:
        _warn(error)
        return None


def told(logged: LoggedModel) -> str:
    """Return a line on where the model is."""
    if logged.registered is None:
        return f"MLflow has it as {logged.uri}."
    name, version = logged.registered
    return f"MLflow has it as {logged.uri}, registered as version {version} of {name}."


def to_json(logged: LoggedModel | None) -> dict[str, Any]:
    """Return where the model is as plain JSON values; null where it is nowhere."""
    name, version = (None, None) if logged is None or logged.registered is None else logged.registered
    return {
        "mlflow_run_id": None if logged is None else logged.run_id,
        "mlflow_model": None if logged is None else logged.uri,
        "registered_model": name,
        "registered_version": version,
    }


def _warn(error: Exception) -> None:
    print(f"batch-size: The model is in no MLflow: {error}", file=sys.stderr)
