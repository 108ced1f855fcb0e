"""What is asked of Ray itself: a connection, places for actors, actors and what they tell. Nothing else imports it.

Source of the calls: the documentation of Ray core 2.55 (actors, streaming generators, scheduling).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tuning.run import ray_actor

_LOG = logging.getLogger(__name__)

AUTO, LOCAL = "auto", "local"
_QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}


@dataclass(frozen=True)
class Demand:
    """What one device takes of a node, in whole numbers: fractions of a GPU say nothing about seconds or memory.

    Args:
        cpus: CPUs, at least 1; as many threads train.
        gpus: GPUs of one node that share a training, or 0.

    Raises:
        ValueError: If a number is out of its range.
    """

    cpus: int = 1
    gpus: int = 0

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise ValueError(f"cpus_per_trial must be at least 1; got {self.cpus}.")
        if self.gpus < 0:
            raise ValueError(f"gpus_per_trial must be at least 0; got {self.gpus}.")

    def __str__(self) -> str:
        named = {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
        return " and ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in named.items())

    def places(self, resources: Mapping[str, float]) -> int:
        """Return how many devices a node has room for, from its resources as Ray names them."""
        found = int(resources.get("CPU", 0)) // self.cpus
        return min(found, int(resources.get("GPU", 0)) // self.gpus) if self.gpus else found


def differing_versions(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Return what is different on a node, in one line with the way out; empty if nothing is.

    Args:
        here: The driver's, from `ray_actor.versions`.
        there: The node's.
    """
    named = [
        f"{name} {there.get(name) or 'is missing'} (here {version or 'none'})"
        for name, version in here.items()
        if name != "node" and there.get(name) != version
    ]
    if not named:
        return ""
    return (
        f"A node must have the versions of the driver; {there.get('node')} has {', '.join(named)}. "
        "Install the same there, such as by the same container image."
    )


class ActorEndedError(RuntimeError):
    """An actor has ended, or does not answer; the message is one line that says why."""


class Cluster:
    """A connection to a Ray cluster, until it is closed.

    Args:
        address: "auto" for the cluster of which this machine is a node, HOST:PORT of a cluster's head, or "local" to
            start Ray on this machine only, which ends with the connection. Where this process is connected already,
            that connection is used, and stays.

    Raises:
        ValueError: If Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str = AUTO) -> None:
        if address.startswith("ray://"):
            raise ValueError(
                f"A Ray client cannot carry what trials tell as they run; got {address!r}. Run this command in the "
                "cluster, such as by ray job submit, with --ray-address auto."
            )
        if address == LOCAL:
            _take_token()
        self._ray = _import_ray()
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            _connect(self._ray, address)
        self._ray.cloudpickle.register_pickle_by_value(ray_actor)
        self._actor = self._ray.remote(ray_actor.DeviceActor)
        self._worker = self._ray.remote(ray_actor.WorkActor)

    def put(self, content: object) -> Any:
        """Return a reference to an object, which nodes fetch once each."""
        return self._ray.put(content)

    @property
    def has_gpus(self) -> bool:
        """Whether any node has a GPU."""
        return any(node["Resources"].get("GPU", 0) >= 1 for node in self._nodes())

    def places(self, demand: Demand) -> int:
        """Return how many devices all nodes together have room for."""
        return sum(demand.places(node["Resources"]) for node in self._nodes())

    def most_on_a_node(self, demand: Demand) -> int:
        """Return how many devices the largest node has room for; 0 if there is no node."""
        return max((demand.places(node["Resources"]) for node in self._nodes()), default=0)

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def start_actor(self, demand: Demand, share: bytes) -> tuple[Any, Any]:
        """Return a new actor, which Ray starts where and when there is room, and the stream of what it tells."""
        actor = self._actor.options(
            num_cpus=demand.cpus, num_gpus=demand.gpus, max_restarts=0, max_concurrency=2, scheduling_strategy="SPREAD"
        ).remote()
        return actor, actor.serve.options(num_returns="streaming").remote(share)

    def start_work(self, demand: Demand, work: bytes, data: list[Any]) -> tuple[Any, Any]:
        """Return an actor that does a piece of work, as `WorkActor.work` takes it, and the stream of what it tells."""
        actor = self._worker.options(num_cpus=demand.cpus, num_gpus=demand.gpus, max_restarts=0).remote()
        return actor, actor.work.options(num_returns="streaming").remote(work, data)

    def ready(self, streams: list[Any], timeout_s: float) -> list[Any]:
        """Return the streams that have something, or have ended; wait for the first so long."""
        found, rest = self._ray.wait(streams, num_returns=1, timeout=timeout_s)
        if found and rest:
            more, _ = self._ray.wait(rest, num_returns=len(rest), timeout=0)
            found += more
        return list(found)

    def next_of(self, stream: Any) -> Any:
        """Return the next message of a stream.

        Raises:
            ActorEndedError: If its actor has ended, or does not answer.
        """
        try:
            return self._ray.get(next(stream))
        except StopIteration:
            raise ActorEndedError("The actor has ended.") from None
        except self._ray.exceptions.RayError as error:
            raise ActorEndedError(_in_one_line(error)) from None

    def await_ends(self, streams: Sequence[Any], patience_s: float) -> None:
        """Wait for streams to end, and drop what they still tell."""
        left, deadline = list(streams), time.monotonic() + patience_s
        while left and time.monotonic() < deadline:
            for stream in self.ready(left, 0.5):
                try:
                    self.next_of(stream)
                except ActorEndedError:
                    left.remove(stream)

    def kill(self, actor: Any) -> None:
        """End an actor, if it has not ended."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(actor)

    def close(self) -> None:
        """End the connection, if it was made here."""
        if self._is_ours:
            self._ray.shutdown()


def _take_token() -> None:
    """Give a Ray that starts here a token of its own: its ports are open to the network, and who may call runs code.

    Ray reads these variables when it is imported; one that was imported before keeps what it was told.
    """
    if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))


def _import_ray() -> ModuleType:
    if importlib.util.find_spec("ray") is None:
        raise ValueError(
            "The engine ray needs the package ray, which is not installed: pip install 'batch-size-tuner[ray]'."
        )
    # What Ray will do by default one day, of which ray 2.55 warns; workers here are told their GPU in any case.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    return importlib.import_module("ray")


def _connect(ray: ModuleType, address: str) -> None:
    if address == LOCAL:
        _start_here(ray)
        return
    try:
        ray.init(address=address, **_QUIET)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ValueError(
            f"A Ray cluster must be reachable; got {address!r} ({_in_one_line(error)}). Start one with ray start "
            "--head, give --ray-address HOST:PORT of a cluster of which this machine is a node, or --ray-address local."
        ) from None


def _start_here(ray: ModuleType) -> None:
    _LOG.warning("Ray is started on this machine only, and ends with the search.")
    ray.init(address=LOCAL, include_dashboard=False, **_QUIET)


def _in_one_line(error: BaseException) -> str:
    """Return the first words of an error of Ray, whose texts are pages long; of one in an actor, those of its cause."""
    cause = getattr(error, "cause", None) or error
    told = " ".join(str(cause).split()) or type(cause).__name__
    return f"{told[:200]}…" if len(told) > 200 else told
