"""Contact: the store as the thread that writes it reaches it, which may be away when a search begins."""

from __future__ import annotations

from collections.abc import Callable

from mlflow import MlflowClient

from tuning.record.store import StoreAwayError, answers, check_store, client_of_server, connect, is_server, sqlite_path
from tuning.record.tracking_thread import TrackingThread


class Contact:
    """Has a store asked by the thread that alone speaks with it.

    A server that once did not answer, or let nobody in, is not waited for again: the outbox asks it from then on.

    Args:
        tracking_uri: As `resolve_tracking_uri` returns it.
        thread: The thread.
        tell_away: Called once with what MLflow raised where a server is away; None if that is an error.

    Raises:
        TrackingError: If the store cannot be reached or written. Nothing has been written then.
    """

    def __init__(
        self, tracking_uri: str, thread: TrackingThread, tell_away: Callable[[Exception], None] | None = None
    ) -> None:
        self._uri, self._thread, self._tell_away = tracking_uri, thread, tell_away
        self._connected: MlflowClient | None = None
        self._is_away = False
        if sqlite_path(tracking_uri) is None:
            self._unless_away(lambda: connect(tracking_uri))
        else:
            check_store(tracking_uri)

    def client(self) -> MlflowClient:
        """Return the client, which is made and used in the thread alone; a server that is away fails at its use."""
        if self._connected is None:
            self._connected = client_of_server(self._uri) if is_server(self._uri) else connect(self._uri, create=True)
        return self._connected

    def ask(self, question: Callable[[], object]) -> bool:
        """Have something asked, and wait for it, unless the server is away; return whether it has been answered.

        Raises:
            TrackingError: If MLflow fails otherwise, or if its server must not be away.
        """

        def asked() -> None:
            with answers(self._uri):
                question()

        return self._unless_away(lambda: self._thread.ask(asked))

    def _unless_away(self, ask: Callable[[], object]) -> bool:
        if self._is_away:
            return False
        try:
            ask()
        except StoreAwayError as away:
            if self._tell_away is None:
                raise
            self._is_away = True
            self._tell_away(away.error)
        return not self._is_away
