"""The worker process: tells what device it sits on, then builds, trains and measures what it is asked to.

It is started as a fresh interpreter, not by multiprocessing, whose spawn would run the user's script again: a script
without a `__main__` guard, or a notebook, works unchanged. Nothing imports this module; an engine starts it by name.
Everything that must precede TensorFlow happens first.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from search_spaces.stream import Stream
from tuning.loops.lean_start import import_keras
from tuning.messages import DescribeRequest, Request
from tuning.run.executor import Device, DeviceError, MissingGpuError, cards_of
from tuning.run.facts import cpu_device, gpu_device
from tuning.run.memory_limit import watch_memory
from tuning.run.python_private import connection_of, die_with_parent, leave
from tuning.run.wire import STOP, Brief, Hello, Refusal, read_data
from tuning.trial import EpochReport, Trial


def main(file_descriptor: int) -> None:
    """Serve requests from the driver until it closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to handle
    die_with_parent()
    connection = connection_of(file_descriptor)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        hello: Hello = connection.recv()
        sys.path[:] = hello.import_path
        device = tell_device(hello, connection)
        if device is not None:
            with collecting_later():  # takes seconds, in which the driver may find out what to train
                import_keras()
                import tuning.loops.session  # noqa: F401

            brief: Brief = connection.recv()
            limit = device.memory.bytes if hello.holds_memory else hello.memory_limit_bytes
            session = open_session(hello, brief, limit)
            while True:
                serve(session, connection.recv(), connection)
    leave(0)


def tell_device(hello: Hello, connection: Connection[Any, Any]) -> Device | None:
    """Tell the driver what device this is, and return it; None where it cannot be worked on.

    The driver waits for this to begin, so it precedes TensorFlow where it can: on a GPU only TensorFlow knows.
    """
    try:
        if hello.device.startswith("gpu"):
            device = gpu_device(hello.device, asked_bytes=hello.memory_limit_bytes)
        else:
            device = cpu_device(hello.device, asked_bytes=hello.memory_limit_bytes, sharing=hello.sharing)
    except DeviceError as error:
        connection.send(Refusal(str(error), lacks_gpu=isinstance(error, MissingGpuError)))
        return None
    connection.send(device)
    return device


def open_session(hello: Hello, brief: Brief, limit_bytes: int | None = None) -> Any:
    """Return a session on the user's model and data, with a watch on this process's memory if there is a limit."""
    sys.path[:] = brief.import_path
    with collecting_later():
        from tuning.loops.energy import energy_meter_here
        from tuning.loops.replicas import Replicas, divide_cpu
        from tuning.loops.session import TrainingSession

        hypermodel, callbacks, fit_options, source, custom_objects = pickle.loads(brief.payload)
    cards = cards_of(hello.device)
    if cards > 1 and not hello.device.startswith("gpu"):
        divide_cpu(cards)
    if custom_objects:
        import keras

        keras.saving.get_custom_objects().update(custom_objects)
    session = TrainingSession(
        hypermodel,
        source if isinstance(source, Stream) else read_data(brief.data_directory, source),
        callbacks=callbacks,
        fit_options=fit_options,
        weights_directory=brief.weights_directory,
        energy=functools.partial(energy_meter_here, sharing=hello.sharing, cards=cards),
        replicas=Replicas(cards),
    )
    # On a GPU TensorFlow keeps the limit on the device; resident memory says nothing about that.
    if limit_bytes is not None and not hello.device.startswith("gpu"):
        watch_memory(limit_bytes)
    return session


@contextlib.contextmanager
def collecting_later() -> Iterator[None]:
    """Collect no garbage while modules are imported, nor look at what they hold ever after: it stays.

    With TensorFlow that is half a million objects; looking at them again and again took 0.8 of the 4.7 s of processor
    time until a worker can train, and 0.2 s of every later collection of all garbage (measured).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def serve(session: Any, request: Trial | Request | tuple[str, str], connection: Connection[Any, Any]) -> None:
    """Answer one request; a stop for a trial that has already ended needs none."""
    if isinstance(request, Trial):
        connection.send(session.train(request, reporter(connection, request.trial_id)))
    elif isinstance(request, DescribeRequest):
        connection.send(session.describe(request))
    elif not isinstance(request, tuple):
        connection.send(session.probe(request))


def reporter(connection: Connection[Any, Any], trial_id: str) -> Callable[[EpochReport], bool]:
    """Return a function that sends an epoch's report and returns whether the trial is to go on."""

    def report(epoch: EpochReport) -> bool:
        connection.send(epoch)
        keep_going = True
        while connection.poll():
            keep_going = (connection.recv() != (STOP, trial_id)) and keep_going
        return keep_going

    return report
