"""Does everything reach MLflow, however its server behaves, and does no search wait for it?

    python benchmarks/tracking_faults.py
    python benchmarks/tracking_faults.py away slow

starts a real MLflow server on 127.0.0.1 behind a proxy that misbehaves, and searches with a scripted executor and a
real study. When the search has ended, and again after `batch-size pick` with the server back, it compares every run
(status, params, every metric's values with their steps) with the study. About a quarter of an hour.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # the scripted executor

import numpy as np
from fakes import ScriptedExecutor
from mlflow import MlflowClient

from search_spaces import BatchSize, Data
from tuning import GridSearch
from tuning.cli import main as batch_size
from tuning.commands.telling import STUDIES
from tuning.messages import Throughput
from tuning.objective import Objective
from tuning.record import layout
from tuning.record.experiments import all_runs
from tuning.record.mlflow_private import server_environment
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.owed import FOLDER
from tuning.search.options import SearchArguments
from tuning.trial import Trial

SIZES, SEEDS, EPOCHS = (8, 16, 32, 64), 5, 6
POISON = 0.6662025
"""A value that one trial reports, by which the proxy knows the payload that it never takes."""


@dataclass
class Fault:
    """How the server behaves from the first trial on.

    Args:
        pace_s: Seconds of an epoch of the search.
        lasts_s: How long it behaves so; without end, it does until the search has ended.
        delay_s: Before each answer.
        status: Of the answers, instead of the server's own.
        share: Of the calls that are answered so.
        only_poison: Whether only the poisoned payload is answered so.
        refuses_connections: Whether nothing listens at all.
        from_the_start: Whether it behaves so before the search begins.
    """

    pace_s: float = 0.1
    lasts_s: float = float("inf")
    delay_s: float = 0.0
    status: int = 0
    share: float = 1.0
    only_poison: bool = False
    refuses_connections: bool = False
    from_the_start: bool = False


FAULTS = {
    "none": Fault(),
    "away": Fault(pace_s=0.55, lasts_s=60, refuses_connections=True),
    "absent": Fault(pace_s=0.25, lasts_s=20, refuses_connections=True, from_the_start=True),
    "absent to end": Fault(refuses_connections=True, from_the_start=True),
    "slow": Fault(delay_s=2),
    "hangs": Fault(delay_s=3600),
    "500": Fault(status=500, lasts_s=20, pace_s=0.25),
    "500 half": Fault(status=500, share=0.5),
    "401": Fault(status=401, lasts_s=20, pace_s=0.25),
    "401 to end": Fault(status=401),
    "401 first": Fault(status=401, from_the_start=True),
    "poison 400": Fault(status=400, only_poison=True),
    "poison 500": Fault(status=500, only_poison=True),
}
ANSWERS = {
    400: json.dumps({"error_code": "INVALID_PARAMETER_VALUE", "message": "this payload is never taken"}).encode(),
    401: b"You are not authenticated.",
    500: b"<html>Internal Server Error</html>",
}


class Proxy:
    """Stands before the server, on a port of its own, and misbehaves while it is told to."""

    def __init__(self, server_port: int) -> None:
        self.port, self.calls = free_port(), 0
        self._server_port, self._fault, self._until = server_port, Fault(), 0.0
        self._random = random.Random(0)
        self._listening: ThreadingHTTPServer | None = None
        self._lock = threading.Lock()
        self.listen()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def listen(self) -> None:
        """Answer from now on."""
        with self._lock:
            if self._listening is None:
                self._listening = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
                self._listening.daemon_threads = True
                threading.Thread(target=self._listening.serve_forever, args=[0.05], daemon=True).start()

    def refuse(self) -> None:
        """Answer nothing from now on."""
        with self._lock:
            if self._listening is not None:
                self._listening.shutdown()
                self._listening.server_close()
                self._listening = None

    def begin(self, fault: Fault) -> None:
        """Misbehave from now on."""
        self._fault, self._until = fault, time.monotonic() + fault.lasts_s
        if fault.refuses_connections:
            self.refuse()
            if fault.lasts_s < float("inf"):
                threading.Timer(fault.lasts_s, self.listen).start()

    def recover(self) -> None:
        """Behave from now on, once what was to last has lasted."""
        if self._until < float("inf"):
            time.sleep(max(0.0, self._until - time.monotonic() + 0.5))
        self._fault = Fault()
        self.listen()

    def answer_to(self, body: bytes) -> tuple[float, int]:
        """Return the delay of the answer to a request, and its status; 0 for the server's own."""
        self.calls += 1
        fault = self._fault if time.monotonic() < self._until else Fault()
        is_meant = str(POISON).encode() in body if fault.only_poison else self._random.random() < fault.share
        return fault.delay_s, fault.status if is_meant else 0

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy, server_port = self, self._server_port

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                delay_s, status = proxy.answer_to(body)
                time.sleep(delay_s)
                content, headers = ANSWERS.get(status, b""), [("Content-Type", "text/plain")]
                if not status:
                    status, headers, content = self.ask_server(body)
                try:
                    self.send_response(status)
                    for name, value in headers:
                        if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                            self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except ConnectionError:
                    pass  # nobody waits for the answer any more

            def ask_server(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                asked = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                connection = http.client.HTTPConnection("127.0.0.1", server_port, timeout=60)
                connection.request(self.command, self.path, body, asked)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                return answer.status, answer.getheaders(), content

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        return Handler


@dataclass
class Timed:
    """A tracker that notes how long the search waited for each call."""

    tracker: MlflowTracker
    seconds: dict[str, float] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.tracker, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return value(*args, **kwargs)
            finally:
                self.seconds[name] = max(self.seconds.get(name, 0.0), time.perf_counter() - began)

        return call


class PacedExecutor(ScriptedExecutor):
    """Takes its time for each event, and tells when the first trial begins."""

    def __init__(self, pace_s: float, begun: Callable[[], None]) -> None:
        super().__init__(self.train, probes=lambda asked: Throughput(asked.trial_id, asked.batch_size, "keras", 0.01))
        self._pace_s, self._begun = pace_s, begun

    def train(self, trial: Trial) -> list[float]:
        if not self.requests[1:]:
            self._begun()
        noise = random.Random(f"{trial.batch_size} {trial.seed}")
        curve = [1 - 0.5 / (epoch + noise.random()) for epoch in range(1, EPOCHS + 1)]
        return [*curve[:-1], POISON] if (trial.batch_size, trial.seed) == (32, 1) else curve

    def events(self, timeout_s: float) -> list[Any]:
        time.sleep(self._pace_s)
        return super().events(timeout_s)


def try_fault(name: str, fault: Fault, proxy: Proxy, server_uri: str) -> bool:
    """Search under a fault, deliver what is owed, print what became of it, and return whether all is equal."""
    study = name.replace(" ", "-")
    if fault.from_the_start:
        proxy.begin(fault)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        timed = Timed(MlflowTracker(proxy.uri, outbox=Path(STUDIES, study, FOLDER)))
    tuner = GridSearch(
        lambda: None,
        batch_size=BatchSize.of(*SIZES),
        seeds=SEEDS,
        probe=False,
        directory=STUDIES,
        project_name=study,
        tracker=timed,
        quiet=True,
    )
    x = np.zeros((64, 2), "float32")
    calls, began = proxy.calls, time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        executor = PacedExecutor(fault.pace_s, lambda: None if fault.from_the_start else proxy.begin(fault))
        tuner.run(SearchArguments(Data(x, x[:, 0], x, x[:, 0]), epochs=EPOCHS, verbose=False), executor)
    searched_s = time.perf_counter() - began
    trials, waits = list(tuner.oracle.study.records), dict(timed.seconds)
    closing_s = waits.pop("close")
    during_s = max(waits[each] for each in ("start_trial", "epoch", "end_trial", "recommended"))
    at_the_end = n_equal(server_uri, study, trials)
    proxy.recover()
    picking_s = pick(study, proxy.uri)
    after_pick = n_equal(server_uri, study, trials)
    print(
        f"{name:13} {searched_s:7.1f} {1000 * during_s:9.1f} {closing_s:8.1f} {at_the_end:7} of {len(trials) + 1}"
        f" {after_pick:7} of {len(trials) + 1} {picking_s:7.1f} {proxy.calls - calls:6}",
        flush=True,
    )
    for warning in caught:
        print(f"              {warning.message}", flush=True)
    return after_pick == len(trials) + 1


def pick(study: str, uri: str) -> float:
    """Run `batch-size pick`, and return its seconds."""
    began = time.perf_counter()
    with redirect_stdout(StringIO()):
        status = batch_size(["pick", study, "--tracking-uri", uri, "--json"])
    assert status == 0, status
    return time.perf_counter() - began


def n_equal(uri: str, study: str, trials: list[Trial]) -> int:
    """Return how many runs MLflow holds as the study has them, the recommendation's counted, and no others."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study)
    found = all_runs(client, experiment.experiment_id) if experiment else []
    runs = [run for run in found if run.data.tags.get(layout.STAGE) != layout.MEASUREMENT]
    by_trial = {run.data.tags[layout.TRIAL_ID]: run for run in runs if layout.TRIAL_ID in run.data.tags}
    answers = [run for run in runs if run.data.tags.get(layout.STAGE) == layout.RECOMMENDATION]
    if len(by_trial) + len(answers) != len(runs):
        return -1  # a trial has several runs
    files = [file.path for run in answers for file in client.list_artifacts(run.info.run_id)]
    n_answers = int(len(answers) == 1 and {"recommendation.json", "report.md"} <= set(files))
    return n_answers + sum(is_equal(client, by_trial.get(trial.trial_id), trial) for trial in trials)


def is_equal(client: MlflowClient, run: Any, trial: Trial) -> bool:
    """Return whether a run has ended as the trial did, with its params and its metrics' values and steps.

    What the answer says of the run's batch size is no part of the trial.
    """
    if run is None or run.info.status != "FINISHED" or run.data.tags.get(layout.STATUS) != trial.status:
        return False
    params = {name: str(value) for name, value in layout.trial_params(trial).items()}
    if params.items() - run.data.params.items():
        return False
    expected: dict[str, list[tuple[int, float]]] = {}
    for place, report in enumerate(trial.reports):
        before = trial.reports[place - 1] if place else None
        for name, value in layout.epoch_values(report, before).items():
            expected.setdefault(name, []).append((report.examples_seen, value))
    assert trial.outcome is not None
    shown, _ = layout.course(trial, Objective("val_accuracy"))
    outcome = replace(trial.outcome, measurements={**shown, **trial.outcome.measurements})
    for metric in layout.outcome_metrics(outcome, trial.reports[-1], 0):
        expected.setdefault(metric.key, []).append((metric.step, metric.value))
    told = {name for name in run.data.metrics if not name.startswith(layout.ANSWER)}
    return told == expected.keys() and all(
        sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
        == sorted(points)
        for name, points in expected.items()
    )


@contextmanager
def mlflow_server(folder: Path) -> Iterator[int]:
    """Run MLflow's server on a new store; yields its port."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = os.environ | server_environment(f"sqlite:///{folder / 'mlflow.db'}")
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_for_server(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def wait_for_server(port: int, process: subprocess.Popen[bytes], limit_s: float = 600.0) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        assert process.poll() is None, "MLflow's server has ended."
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError("MLflow's server does not start.")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Try each fault; the exit status is 1 if a run is not as the study has it in the end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("faults", nargs="*", choices=[[], *FAULTS], help=f"of {', '.join(FAULTS)} (all)")
    names = parser.parse_args().faults or list(FAULTS)
    print(f"{len(SIZES) * SEEDS} trials of {EPOCHS} epochs, and the recommendation. Equal to the study, with metrics:")
    print("fault         search s  longest ms  at end s    at the end    after pick  pick s  calls")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with mlflow_server(Path(folder)) as port:
            proxy = Proxy(port)
            equal = [try_fault(name, FAULTS[name], proxy, f"http://127.0.0.1:{port}") for name in names]
            proxy.refuse()
        os.chdir(ROOT)
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
