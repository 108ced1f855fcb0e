"""The page of MLflow that opens at a study's saved view, on a server that is started for it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from urllib.error import URLError

from mlflow.entities import Experiment

from tuning.interrupts import held_back
from tuning.passwords import without_passwords
from tuning.record import experiments
from tuning.record.layout import NOTE
from tuning.record.mlflow_private import server_environment
from tuning.record.mlflow_views import ALL_VIEW_TAG, EVERYTHING, VIEW_TAG, view_url
from tuning.record.reading import latest_study
from tuning.record.store import TrackingError, answers, connect, is_server, resolve_tracking_uri, sqlite_path

_START_S = 90.0  # a cold start took 6 s on 2 cores, three times that on a loaded machine
_STOP_S = 10.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def serve(
    tracking_uri: str | None, study: str | None = None, *, host: str = "127.0.0.1", port: int | None = None
) -> int:
    """Start MLflow's server on the store, print the address of the study's view, and go on until Ctrl-C.

    Where the store is a server already, only the address is printed.

    Args:
        tracking_uri: As `resolve_tracking_uri` takes it.
        study: The study to open; None for the one written to last.
        host: The address to listen on. Any other than this machine's own lets others read and change the store.
        port: The port to listen on; None finds a free one.

    Returns:
        0, the exit status.

    Raises:
        TrackingError: If the store or the study does not exist, the port is taken, or the server does not start.
    """
    try:
        with _as_ctrl_c(signal.SIGTERM):
            return _serve(tracking_uri, study, host, port)
    except KeyboardInterrupt:
        return 0


def _serve(tracking_uri: str | None, study: str | None, host: str, port: int | None) -> int:
    uri = resolve_tracking_uri(tracking_uri)
    name = study or latest_study(uri)
    with answers(uri):
        experiment = experiments.find_experiment(connect(uri), name)
    if is_server(uri):
        print(without_passwords(_address(uri, experiment)), flush=True)
        print(_all_trials(uri, experiment), file=sys.stderr, flush=True)
        return 0
    with _server(uri, host, _open_port(host, port)) as (process, address):
        print(_address(address, experiment), flush=True)
        print(_all_trials(address, experiment), file=sys.stderr, flush=True)
        print("MLflow's UI is open there until Ctrl-C.", file=sys.stderr, flush=True)
        process.wait()
    raise TrackingError(f"MLflow's server has ended by itself (exit status {process.returncode}). Start it again.")


def _address(server: str, experiment: Experiment) -> str:
    """Return the address of the view of what decided; before there is an answer, that of all trials."""
    if VIEW_TAG in experiment.tags and NOTE in experiment.tags:
        return view_url(server, experiment.experiment_id)
    if ALL_VIEW_TAG in experiment.tags:
        return view_url(server, experiment.experiment_id, EVERYTHING)
    return f"{server}/#/experiments/{experiment.experiment_id}/runs"


def _all_trials(server: str, experiment: Experiment) -> str:
    """Return a line with the address of the view of all trials, or of the one that there is."""
    has_view = ALL_VIEW_TAG in experiment.tags
    address = view_url(server, experiment.experiment_id, EVERYTHING) if has_view else _address(server, experiment)
    return f"All trials, whatever became of them: {without_passwords(address)}"


@contextlib.contextmanager
def _server(uri: str, host: str, port: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    reachable = _ANYWHERE.get(host, host)
    address = f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
    path = sqlite_path(uri)
    with tempfile.TemporaryFile() as log, contextlib.ExitStack() as stack:
        with held_back():  # until it is known what to stop
            process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"],
                cwd=path.parent if path else None,  # where the server looks for `mlartifacts`
                env=os.environ | server_environment(uri),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.callback(_stop, process)
        if not _healthy(process, address):
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()[-1:] or ["nothing"]
            raise TrackingError(f"MLflow's server on port {port} does not start; it said: {said[0]:.300}")
        yield process, address


def _healthy(process: subprocess.Popen[bytes], address: str) -> bool:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return True
        except (URLError, OSError):
            time.sleep(0.2)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)  # the server keeps a worker process
        except ProcessLookupError:
            break
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _open_port(host: str, port: int | None) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port or 0))
        except OSError as error:
            raise TrackingError(
                f"MLflow's server cannot listen on {host}, port {port or 'any'} ({error.strerror}). "
                "Choose another --port or --host."
            ) from None
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _as_ctrl_c(number: signal.Signals) -> Iterator[None]:
    """Let a polite request to end do what Ctrl-C does, so that the server does not outlive its parent."""
    in_main_thread = threading.current_thread() is threading.main_thread()  # no other may set handlers
    if not in_main_thread or signal.getsignal(number) is not signal.SIG_DFL:
        yield
        return
    signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL)
