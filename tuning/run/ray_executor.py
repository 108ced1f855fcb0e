"""RayExecutor: devices of a Ray cluster, an actor on each, which come and go as the cluster's nodes do."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace

from search_spaces.identity import fingerprint
from tuning.messages import Event, Request
from tuning.run.executor import Device, DeviceError, MissingGpuError, WorkerSetup
from tuning.run.ray_actor import versions as versions_here
from tuning.run.ray_cluster import ActorEndedError, differing_versions
from tuning.run.ray_node import BEGIN, RENEW, STOP, SUBMIT, Happened, Parts
from tuning.run.ray_starter import RayStarter, Seat
from tuning.run.wire import Refusal, pickle_setup
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

_LOG = logging.getLogger(__name__)
_LOOK_S = 2.0
"""The cluster is asked for its nodes so often."""
_MOST_DEATHS = 3
"""After so many actors in a row that died before they had told their device, it is no accident."""


class RayExecutor:
    """Runs each device's requests in an actor of a Ray cluster, which has a `LocalExecutor` of one device there.

    Devices may be of several kinds. Nodes on which Python or a package has another version than here are told of, and
    left alone.

    Args:
        setup: What every worker needs once. Its threads are those that Ray counts.
        starter: Has started the actors, with the setup's limits, and is closed with the executor.
    """

    def __init__(self, setup: WorkerSetup, starter: RayStarter) -> None:
        self._starter, self._cluster, self._seats = starter, starter.cluster, starter.seats
        self._weights = setup.weights_directory
        data = [self._cluster.put(Parts(dict(setup.data.parts())))]
        key = f"{fingerprint(setup.data)}-{uuid.uuid4().hex}"
        self._begin = (BEGIN, pickle_setup(setup, with_neighbours=True), key, data)
        self._here = versions_here()
        self._former: set[str] = set()
        self._deaths = 0
        self._last_words = ""
        self._lacks_gpu = False
        self._looked_at = time.monotonic()
        self._is_closed = False
        for seat in self._seats.values():
            seat.tell(*self._begin)

    def devices(self) -> tuple[Device, ...]:
        """Return the devices whose actors have told of them; see `Executor`."""
        told = tuple(seat.device for seat in self._seats.values() if seat.device is not None)
        if told or self._is_closed:
            return told
        refused = [seat.refused for seat in self._seats.values() if seat.refused]
        if self._deaths >= _MOST_DEATHS:
            raise DeviceError(f"{_MOST_DEATHS} actors in a row ended before they could work. {self._last_words}")
        if refused and len(refused) == len(self._seats):
            kind = MissingGpuError if self._lacks_gpu else DeviceError
            raise kind(" ".join(dict.fromkeys(refused)))
        return ()

    def submit(self, request: Trial | Request, device: str) -> None:
        """Start a request on an idle device; see `Executor`."""
        seat = self._seat(device)
        if seat.request is not None:
            raise ValueError(f"{device} must be idle; it runs {seat.request.trial_id}. Wait for its outcome.")
        seat.request, seat.number = request, seat.number + 1
        seat.tell(SUBMIT, seat.number, request)

    def events(self, timeout_s: float) -> list[Event]:
        """Return what has happened since the last call; see `Executor`."""
        deadline = time.monotonic() + timeout_s
        before = self.told
        while True:
            if time.monotonic() - self._looked_at >= _LOOK_S and not self._is_closed:
                self._grow()
            left = max(0.0, deadline - time.monotonic())
            found = [event for seat in self._ready(min(left, _LOOK_S)) for event in self._receive(seat)]
            if found or self.told != before or time.monotonic() >= deadline:
                return found

    def stop(self, trial_id: str) -> None:
        """Ask a running trial to stop at its next epoch; see `Executor`."""
        for seat in self._seats.values():
            if seat.request is not None and seat.request.trial_id == trial_id:
                seat.tell(STOP, trial_id)

    def renew(self, device: str) -> None:
        """End a device's worker, whatever it does, and start a fresh one; see `Executor`.

        A device that has just gone needs none.
        """
        if device in self._former:
            return
        seat = self._seat(device)
        seat.request, seat.number = None, seat.number + 1
        seat.tell(RENEW)

    def close(self) -> None:
        """End every actor, and with the last on a node its copy of the data; see `Executor`."""
        if self._is_closed:
            return
        self._is_closed = True
        self._starter.close()

    @property
    def told(self) -> tuple[str, ...]:
        """The names of the devices there are now."""
        return tuple(name for name, seat in self._seats.items() if seat.device is not None)

    def _seat(self, device: str) -> Seat:
        if device not in self.told:
            raise ValueError(f"The device must be one of {', '.join(self.told) or 'none (closed)'}; got {device!r}.")
        return self._seats[device]

    def _grow(self) -> None:
        """Use the places that the cluster has by now, unless actors cannot work there."""
        self._looked_at = time.monotonic()
        for seat in self._starter.grow() if self._deaths < _MOST_DEATHS else ():
            seat.tell(*self._begin)

    def _ready(self, timeout_s: float) -> list[Seat]:
        """Return the actors that have something to tell, or have ended."""
        seats = {seat.events: seat for seat in self._seats.values() if not seat.refused}
        if not seats:
            time.sleep(timeout_s)
            return []
        return [seats[events] for events in self._cluster.ready(list(seats), timeout_s)]

    def _receive(self, seat: Seat) -> Iterable[Event]:
        """Return the events of the next message of an actor."""
        try:
            message = self._cluster.next_of(seat.events)
        except ActorEndedError as error:
            return self._lose(seat, str(error))
        if isinstance(message, dict):
            self._compare(seat, message)
        elif isinstance(message, Device):
            self._welcome(seat, message)
        elif isinstance(message, Refusal):
            self._lacks_gpu = self._lacks_gpu or message.lacks_gpu
            self._refuse(seat, message.reason)
        else:
            return [event for each in message for event in self._take(seat, each)]
        return []

    def _compare(self, seat: Seat, there: Mapping[str, str]) -> None:
        if told := differing_versions(self._here, there):
            self._refuse(seat, told)

    def _welcome(self, seat: Seat, device: Device) -> None:
        self._deaths = 0
        seat.device = replace(device, name=seat.name)

    def _refuse(self, seat: Seat, reason: str) -> None:
        """Use an actor no more; it keeps its place, so that no other finds the same there."""
        seat.refused = reason
        _LOG.warning(reason)

    def _take(self, seat: Seat, happened: Happened) -> Iterable[Event]:
        if happened.number != seat.number or seat.request is None:  # of a request that was dropped
            return []
        for name, content in happened.weights.items():
            self._keep(name, content)
        if not isinstance(happened.event, EpochReport):
            seat.request = None
        return [happened.event]

    def _keep(self, name: str, content: bytes) -> None:
        if self._weights is not None:
            self._weights.mkdir(parents=True, exist_ok=True)
            (self._weights / f"{name}.partial").write_bytes(content)
            (self._weights / f"{name}.partial").rename(self._weights / name)

    def _lose(self, seat: Seat, reason: str) -> Iterable[Event]:
        """Give up an actor that has ended, or whose node does not answer; whatever it still says is ignored."""
        self._starter.drop(seat)
        if seat.device is None:
            self._deaths, self._last_words = self._deaths + 1, reason
            return []
        self._former.add(seat.name)
        if seat.request is None:
            return []
        return [TrialOutcome(seat.request.trial_id, Status.LOST, reason=f"{seat.name} was lost: {reason}")]
