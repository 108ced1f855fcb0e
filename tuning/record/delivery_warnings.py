"""What people are told of a delivery: that it has to wait, what is still owed at the end, and what was refused."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from tuning.full_disk import is_full_disk
from tuning.passwords import without_passwords
from tuning.record.mlflow_private import is_unanswered
from tuning.record.outbox import Outbox, Reaction
from tuning.record.store import TrackingWarning, one_line, reaction_to

_MOST_NAMES = 5
_SEVERAL = 3  # failures in a row are no mishap


class DeliveryWarnings:
    """Warns (`TrackingWarning`) the thread that calls of what happens in the one that delivers, of each thing once.

    Args:
        tracking_uri: The store.
        outbox: What is owed.
        is_kept: Whether commands find out by themselves that something is owed.
    """

    def __init__(self, tracking_uri: str, outbox: Outbox, *, is_kept: bool) -> None:
        self._uri, self._outbox = tracking_uri, outbox
        self._later = "the same search again delivers it"
        if is_kept:
            self._later = "the next `batch-size pick`, `report` or `ui` of this study, or the same search, delivers it"
        self._told: set[Reaction | str] = set()

    def at_the_start(self, error: Exception) -> None:
        """Tell that a search begins although the store does not answer, or lets nobody in."""
        trouble = reaction_to(error), error
        if trouble[0] not in self._told:
            self._told.add(trouble[0])
            self._warn(f"{self._why(trouble)}; the search starts all the same, and what it records is delivered later.")

    def of_trouble(self) -> None:
        """Tell that the store lets nobody in, or does not answer."""
        trouble = self._outbox.trouble
        if trouble is None or trouble[0] in self._told:
            return
        if trouble[0] is Reaction.DENIED or self._outbox.failures >= _SEVERAL:
            self._told.add(trouble[0])
            self._warn(f"{self._why(trouble)}; the search goes on, and what it records is delivered later.")

    def at_the_end(self) -> None:
        """Tell what is owed, and what was refused."""
        if owed := self._outbox.owed():
            self._warn(
                f"{self._why(self._outbox.trouble)}; it may lack {_names(owed)}. Nothing is lost: {self._later}."
            )
        refused = [name for name in self._outbox.refused if name not in self._told]
        if refused:
            self._told.update(refused)
            error = self._outbox.refused[refused[0]]
            reason = "it fails at it again and again" if is_unanswered(error) else one_line(error)
            self._warn(f"MLflow at {self._uri} refused {_names(refused)}; the first: {reason}. The rest went on.")

    def _why(self, trouble: tuple[Reaction, Exception] | None) -> str:
        if trouble is None:
            return f"MLflow at {self._uri} is too slow"
        reaction, error = trouble
        if reaction is Reaction.DENIED:
            return (
                f"MLflow at {self._uri} refuses the token or password; renew MLFLOW_TRACKING_TOKEN, or "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        if is_unanswered(error):
            return f"MLflow at {self._uri} {'does not answer' if is_unanswered(error, retried=False) else 'fails'}"
        if is_full_disk(error):
            return f"MLflow at {self._uri} has no space left on its disk"
        return f"MLflow at {self._uri} fails ({one_line(error)})"

    def _warn(self, message: str) -> None:
        warnings.warn(without_passwords(message), TrackingWarning, stacklevel=4)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
