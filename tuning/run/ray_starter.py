"""RayStarter: starts actors on a Ray cluster before it is known what they are to train, and as the cluster grows.

An actor takes a second to start and its worker several to load TensorFlow; the driver reads the workload meanwhile.
"""

from __future__ import annotations

import itertools
import logging
import pickle
from typing import Any

from tuning.messages import Request
from tuning.run.executor import Device
from tuning.run.pulse import SILENCE_LIMIT_S
from tuning.run.ray_cluster import Cluster, Demand
from tuning.run.ray_node import CLOSE, Share
from tuning.trial import Trial

_LOG = logging.getLogger(__name__)
_GRACE_S = 10.0


class Seat:
    """An actor, what it has told, and what it runs."""

    def __init__(self, name: str, actor: Any, events: Any) -> None:
        self.name, self.actor, self.events = name, actor, events
        self.device: Device | None = None
        self.refused = ""
        self.request: Trial | Request | None = None
        self.number = 0

    def tell(self, *command: Any) -> None:
        """Have the actor do something."""
        self.actor.tell.remote(command)


class RayStarter:
    """Has an actor on every place that a cluster has, up to the most that are wanted.

    Args:
        cluster: Connected; closed with the starter.
        demand: What each device takes of a node.
        workers: The most devices to use; None for all that the cluster has, now and later.
        memory_limit_bytes: As in `WorkerSetup`.
        holds_memory: Likewise.
        silence_limit_s: Likewise.
    """

    def __init__(
        self,
        cluster: Cluster,
        demand: Demand,
        *,
        workers: int | None = None,
        memory_limit_bytes: int | None = None,
        holds_memory: bool = False,
        silence_limit_s: float = SILENCE_LIMIT_S,
    ) -> None:
        self.cluster, self._demand, self._most = cluster, demand, workers
        places = cluster.most_on_a_node(demand)
        self._share = pickle.dumps(
            Share(
                cpus=demand.cpus,
                gpus=demand.gpus,
                sharing=max(1, places if workers is None else min(places, workers)),
                memory_limit_bytes=memory_limit_bytes,
                holds_memory=holds_memory,
                silence_limit_s=silence_limit_s,
            )
        )
        self._numbers = itertools.count()
        self._waits = self._is_closed = False
        self.seats: dict[str, Seat] = {}
        self.grow()

    def grow(self) -> list[Seat]:
        """Start the actors that the cluster has room for by now, and return them."""
        places = self.cluster.places(self._demand)
        wanted = places if self._most is None else self._most
        new = [self._start() for _ in range(wanted - len(self.seats))]
        waits = places == 0 and all(seat.device is None for seat in self.seats.values())
        if waits and not self._waits:
            _LOG.warning(f"No node of the Ray cluster has {self._demand}; the search waits for one.")
        self._waits = waits
        return new

    def drop(self, seat: Seat) -> None:
        """Give up an actor that has ended, or whose node does not answer; whatever it still says is ignored."""
        self.cluster.kill(seat.actor)
        del self.seats[seat.name]

    def close(self) -> None:
        """End every actor, and the connection to the cluster."""
        if self._is_closed:
            return
        self._is_closed = True
        for seat in self.seats.values():
            seat.tell(CLOSE)
        self.cluster.await_ends([seat.events for seat in self.seats.values() if seat.device], _GRACE_S)
        for seat in self.seats.values():
            self.cluster.kill(seat.actor)
        self.seats.clear()
        self.cluster.close()

    def _start(self) -> Seat:
        name = f"ray:{next(self._numbers)}"
        seat = self.seats[name] = Seat(name, *self.cluster.start_actor(self._demand, self._share))
        return seat
