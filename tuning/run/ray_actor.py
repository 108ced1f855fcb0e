"""The actor of a device on a Ray node, whose class travels by value: a node may lack this package, and is to say so.

This file therefore imports nothing but the standard library until the driver has seen the node's versions.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

PACKAGES = ("batch-size-tuner", "tensorflow", "keras", "ray")


def versions() -> dict[str, str]:
    """Return the versions that must be the same on every node, and the node's name as "node"."""
    import importlib.metadata
    import importlib.util
    import platform

    found = {"node": platform.node(), "python": ".".join(platform.python_version_tuple()[:2])}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = ""
    if importlib.util.find_spec("tuning") is None:
        found["batch-size-tuner"] = ""
    return found


class WorkActor:
    """Does one piece of work on a node, and tells how it goes."""

    def work(self, work: bytes, data: list[Any]) -> Iterator[Any]:
        """Yield the versions of this node, and then what the work yields.

        Args:
            work: A pickled pair of a function of this package and its argument; the data's parts are its second one.
            data: The reference to those, in a list.
        """
        yield versions()
        import pickle

        import ray

        function, argument = pickle.loads(work)
        yield from function(argument, ray.get(data[0]))


class DeviceActor:
    """Sits on a node and has a `LocalExecutor` of one device there work: see `tuning.run.ray_node`.

    It needs two threads: `serve` keeps the first as long as the actor lives, because Linux ends a worker together with
    the thread that started it.
    """

    def __init__(self) -> None:
        self._commands: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()

    def tell(self, command: tuple[Any, ...]) -> None:
        """Take a command of the driver."""
        self._commands.put(command)

    def serve(self, share: bytes) -> Iterator[Any]:
        """Yield the versions of this node, and then what happens on its device.

        Args:
            share: A pickled `tuning.run.ray_node.Share`.
        """
        yield versions()
        from tuning.run.ray_node import serve

        yield from serve(share, self._commands)
