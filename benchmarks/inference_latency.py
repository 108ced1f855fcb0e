"""Whether the latencies that `batch-size probe --inference` tells are what a program that predicts sees.

    python benchmarks/inference_latency.py [--workload digits-cnn] [--sizes 1,32,512] [--rounds 40] [--seconds 0.3]

In one process, the probe and a load of its own take turns, so that what else the machine does disturbs both alike. The
load builds the model by itself and times `model.predict_on_batch` on one batch from the validation data. Each takes the
95th percentile of so many seconds of calls. Told are the medians over the rounds and their ratio; the median, the least
and the largest of the rounds' own ratios, which a burst of other work that outlasts a round leaves alone; and the ratio
of the medians of p50. The last column is the p95 of `model.predict(x, batch_size=B)` on the same batch, which pays for
an input pipeline and callbacks besides.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from search_spaces.data import map_arrays
from search_spaces.workload import load_workload
from tuning.loops.session import TrainingSession
from tuning.messages import Inference, InferenceRequest

_WARM_UP = 10
_CALLS_OF_PREDICT = 40


def main() -> None:
    """Measure and print one line per batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", default="digits-cnn")
    parser.add_argument("--sizes", default="1,32,512")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.3)
    asked = parser.parse_args()
    workload = load_workload(asked.workload)
    data = workload.load_data()
    session = TrainingSession(workload.build, data)
    print(f"{asked.workload}, {asked.rounds} rounds; milliseconds")
    heads = ("probe p95", "load p95", "ratio", "in rounds", "least", "largest", "p50 ratio", "predict p95")
    print(f"{'batch':>6s}", *(f"{head:>11s}" for head in heads))
    for size in map(int, asked.sizes.split(",")):
        batch = map_arrays(lambda leaf, size=size: leaf[np.arange(size) % len(leaf)], data.x_val)
        rounds = [_round(session, workload.build, batch, size, asked.seconds, i) for i in range(asked.rounds)]
        _report(size, rounds, _p95_of_predict(workload.build(), batch, size))


def _round(
    session: TrainingSession, build: Callable[[], Any], batch: Any, size: int, seconds: float, number: int
) -> tuple[float, ...]:
    """Return p50 and p95 of the probe, and p50 and p95 of the load; who begins takes turns."""
    found: dict[str, tuple[float, ...]] = {}

    def probe() -> None:
        answer = session.probe(InferenceRequest(f"inference-{size}", size, least_seconds=seconds))
        assert isinstance(answer, Inference), answer
        assert answer.latency_p95_s is not None
        found["probe"] = (answer.latency_p50_s, answer.latency_p95_s)

    def load() -> None:
        model = build()
        found["load"] = _percentiles(_times(lambda: model.predict_on_batch(batch), seconds=seconds))

    for each in (probe, load) if number % 2 == 0 else (load, probe):
        each()
    return (*found["probe"], *found["load"])


def _p95_of_predict(model: Any, batch: Any, size: int) -> float:
    calls = _times(lambda: model.predict(batch, batch_size=size, verbose=0), calls=_CALLS_OF_PREDICT)
    return _percentiles(calls)[1]


def _times(call: Callable[[], Any], *, seconds: float = 0.0, calls: int = 50) -> list[float]:
    """Return the seconds of each of at least so many calls, over at least so many seconds, after a warm-up."""
    for _ in range(_WARM_UP):
        call()
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < calls or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        found.append(time.perf_counter() - begin)
    return found


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    return float(np.percentile(seconds, 50)), float(np.percentile(seconds, 95))


def _report(size: int, rounds: list[tuple[float, ...]], p95_of_predict: float) -> None:
    probe_p50, probe_p95, load_p50, load_p95 = (np.array(column) for column in zip(*rounds, strict=True))
    ratios = probe_p95 / load_p95
    numbers = (
        1e3 * np.median(probe_p95),
        1e3 * np.median(load_p95),
        np.median(probe_p95) / np.median(load_p95),
        np.median(ratios),
        ratios.min(),
        ratios.max(),
        np.median(probe_p50) / np.median(load_p50),
        1e3 * p95_of_predict,
    )
    print(f"{size:6d}", *(f"{number:11.3f}" for number in numbers), flush=True)


if __name__ == "__main__":
    main()
