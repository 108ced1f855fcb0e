"""Checks B, C and F: what fits, what happens where it does not, and that a failure costs no other trial."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from search_spaces.data import Data
from tuning.gpu_check.bench import Bench, images, sequences, vectors
from tuning.gpu_check.check import Check, Finding
from tuning.gpu_check.models import cnn, lstm, mlp, transformer, wide, wide_activations
from tuning.machine.memory import MemoryFindings, margin_for, probe_memory
from tuning.messages import DescribeRequest, MemoryProbe, MemoryProbeRequest
from tuning.run.asking import ask, first_device
from tuning.trial import Status, TrialOutcome

GIB = 2**30
_LEFT_OVER_BYTES = 64 * 2**20
_FREED_WITHIN_S = 5.0
_MOST_PROBES = 7
_RESOLUTION = 1.05
_PATIENCE_S = 100.0


def _peak(bench: Bench) -> Finding:
    told = bench.child("peaks")
    held = (told["with_it"] - told["before"]) / GIB
    left = (told["after_reset"] - told["before"]) / GIB
    return Finding(1.0 <= held <= 1.02 and abs(left) <= 0.01, f"{held:.3f} GiB held, {left:.3f} left", told)


def _limit(bench: Bench) -> Finding:
    limit = int(bench.child("limit"))
    with bench.executor(mlp, vectors(64)) as executor:
        told = first_device(executor).memory.bytes
    return Finding(abs(told / limit - 1) <= 0.02, f"told {told / GIB:.2f} GiB, TensorFlow {limit / GIB:.2f} GiB")


def _enforced(bench: Bench) -> Finding:
    """A limit of 2 GiB lets weights of 0.4 train, whose gradients take as much again, and no weights of 1.5."""
    ended = []
    for gibibytes in (0.4, 1.5):
        with bench.executor(wide(gibibytes), vectors(64), memory_limit_bytes=2 * GIB) as executor:
            ended.append(bench.train(executor, 8, epochs=1, loop="device").outcome)
    kinds = [outcome.status.value for outcome in ended]
    return Finding(kinds == ["completed", "out_of_memory"], " / ".join(kinds), {"reasons": [o.reason for o in ended]})


def _ladder(bench: Bench, build: Any, data: Data, limit_bytes: int) -> Finding:
    """Find the largest size under a limit; it trains, and one a little larger does not fit."""
    with bench.executor(build, data, memory_limit_bytes=limit_bytes, holds_memory=True) as executor:
        limit = first_device(executor).memory
        model = bench.answer(executor, DescribeRequest("describe", {}))
        found = probe_memory(
            executor,
            limit,
            n_train=data.n_train,
            margin=margin_for(limit, has_batch_normalization=model.has_batch_normalization, loop="device"),
            loop="device",
            bytes_per_example=model.tensor_bytes_per_example,
        )
        largest = found.largest_batch_size
        executor.renew(bench.device)
        more = MemoryProbeRequest("beyond", min(int(_RESOLUTION * largest) + 1, data.n_train), loop="device")
        beyond = ask(executor, more, patience_s=_PATIENCE_S)
        executor.renew(bench.device)
    with bench.executor(build, data, memory_limit_bytes=limit_bytes) as executor:
        trained = bench.train(executor, min(largest, data.n_train), loop="device").outcome
    return _judge_ladder(found, beyond, trained, limit_bytes)


def _judge_ladder(found: MemoryFindings, beyond: object, trained: TrialOutcome, limit_bytes: int) -> Finding:
    residual = 1.0 if found.line is None else found.line.largest_residual
    is_over = not isinstance(beyond, MemoryProbe) or beyond.peak_memory_bytes > limit_bytes
    holds = len(found.probes) <= _MOST_PROBES and is_over and trained.status is Status.COMPLETED and residual <= 0.05
    measured = (
        f"largest {found.largest_batch_size} by {len(found.probes)} probes, residual {residual:.1%}, "
        f"5 % more {'does not fit' if is_over else 'fits'}, trained: {trained.status}"
    )
    peaks = {str(probe.batch_size): probe.peak_bytes for probe in found.probes}
    return Finding(holds, measured, {"peaks": peaks, "limit_bytes": limit_bytes, "reason": trained.reason})


def _returned(bench: Bench) -> Finding:
    """The memory of a worker comes back when it ends, is killed, or runs out of memory."""
    before, left = int(bench.child("used")), {}
    for way in ("end", "kill", "out of memory"):
        build = wide(40.0) if way == "out of memory" else wide(1.0)
        with bench.executor(build, vectors(64), memory_limit_bytes=8 * GIB) as executor:
            trained = bench.train(executor, 8, epochs=1, loop="device")
            if way == "kill" and trained.process_id is not None:
                os.kill(trained.process_id, signal.SIGKILL)
        left[way] = _left_over(bench, before)
    worst = max(left.values())
    return Finding(worst <= _LEFT_OVER_BYTES, f"{worst / 2**20:.0f} MiB left at most", left)


def _left_over(bench: Bench, before: int) -> int:
    deadline = time.monotonic() + _FREED_WITHIN_S
    while True:
        left = int(bench.child("used")) - before
        if left <= _LEFT_OVER_BYTES or time.monotonic() > deadline:
            return left


def _out_of_memory(bench: Bench) -> Finding:
    """Out of memory in its faces is told as such, and the next trial trains in another process."""
    told = {}
    many = vectors(2**17)
    for face, build, data, size, loop in (
        ("activations", wide_activations, many, 2**17, "device"),
        ("activations under XLA", wide_activations, many, 2**17, "xla"),
        ("optimizer slots", wide(0.7), vectors(64), 8, "device"),
    ):
        with bench.executor(_by_size(build), data, memory_limit_bytes=3 * GIB // 2) as executor:
            first = bench.train(executor, size, epochs=1, loop=loop)
            second = bench.train(executor, 7, epochs=1, loop="device")
        told[face] = [first.outcome.status.value, second.outcome.status.value, first.process_id != second.process_id]
    holds = all(ended == ["out_of_memory", "completed", True] for ended in told.values())
    return Finding(holds, "; ".join(f"{face}: {ended}" for face, ended in told.items()), told)


def _by_size(build: Any) -> Any:
    """Return a build function of the model at any batch size but 7, for which it is a small one."""

    def chosen(hp: Any) -> Any:
        return mlp() if hp.Int("batch_size", 1, 2**20, default=8) == 7 else build()

    return chosen


def _sticky(bench: Bench) -> Finding:
    """An illegal address kills the CUDA context; the trial fails, says so, and nothing is learnt of memory."""
    from tuning.gpu_check.acts import Poison

    return _after_failing(bench, Poison(), "CUDA")


def _abort(bench: Bench) -> Finding:
    """An abort is a failure of the trial, with the line that it printed."""
    from tuning.gpu_check.acts import Abort

    return _after_failing(bench, Abort(), "SIGABRT")


def _after_failing(bench: Bench, harm: Any, expected: str) -> Finding:
    with bench.executor(mlp, vectors(512), callbacks=[harm]) as executor:
        failed, next_one = bench.train(executor, 32, seed=1), bench.train(executor, 32, seed=2)
    outcome = failed.outcome
    holds = (
        outcome.status is Status.FAILED
        and expected in outcome.reason
        and next_one.outcome.status is Status.COMPLETED
        and failed.process_id != next_one.process_id
    )
    return Finding(holds, f"{outcome.status}: {outcome.reason}; then {next_one.outcome.status}")


def _pieces(bench: Bench) -> Finding:
    """A batch size that fits into a fresh worker still fits after many trials of other sizes, or in a fresh worker.

    Without convolutions: XLA's trying of their plans takes minutes where there is hardly room for the training itself.
    """
    sizes, data, limit_bytes = [2**n for n in range(7, 15)], vectors(2**15), 3 * GIB // 2
    largest = 0
    for size in reversed(sizes):
        with bench.executor(wide_activations, data, memory_limit_bytes=limit_bytes) as executor:
            if bench.train(executor, size, epochs=1, loop="device").outcome.status is Status.COMPLETED:
                largest = size
                break
    smaller = [size for size in sizes if size < largest]
    with bench.executor(wide_activations, data, memory_limit_bytes=limit_bytes) as executor:
        for seed in range(3):
            for size in smaller:
                bench.train(executor, size, epochs=1, seed=seed, loop="device")
        ended = [bench.train(executor, largest, epochs=1, seed=seed, loop="device").outcome.status for seed in (3, 4)]
    told = f"{3 * len(smaller)} trials, then batch size {largest}: {ended[0]}, again: {ended[1]}"
    return Finding(largest > 0 and ended[1] is Status.COMPLETED, told)


def _resident(bench: Bench) -> Finding:
    """Data that take 45 % of a limit of 4 GiB lie on the card beside the model; what is said to fit trains."""
    return _ladder(bench, cnn, images(int(0.45 * 4 * GIB / (1.25 * 32 * 32 * 3 * 4))), 4 * GIB)


CHECKS = (
    Check("B1", "a peak is a peak", "1.00 to 1.02 GiB, 1 % left", _peak),
    Check("B2", "the limit is TensorFlow's", "within 2 %", _limit),
    Check("B3", "a memory limit is kept on the device", "completed / out_of_memory", _enforced),
    Check(
        "B4",
        "the largest batch of a CNN is found",
        "7 probes, 5 %, it trains",
        lambda bench: _ladder(bench, cnn, images(8000), 3 * GIB // 2),
    ),
    Check(
        "B4-lstm",
        "the largest batch of a recurrence is found",
        "7 probes, 5 %, it trains",
        lambda bench: _ladder(bench, lstm, sequences(60_000), 2 * GIB),
        is_quick=False,
    ),
    Check(
        "B4-transformer",
        "the largest batch of a transformer is found",
        "7 probes, 5 %, it trains",
        lambda bench: _ladder(bench, transformer, sequences(20_000), 2 * GIB),
        is_quick=False,
    ),
    Check(
        "B5", "a pool in pieces loses no batch size", "it trains, or does in a fresh worker", _pieces, is_quick=False
    ),
    Check("B7", "memory comes back", "64 MiB within 5 s", _returned),
    Check("C1", "out of memory in its faces, and a next trial", "out_of_memory, completed", _out_of_memory),
    Check("C2", "a sticky CUDA error is no lack of memory", "failed with its text, then completed", _sticky),
    Check("C3", "an abort is no lack of memory", "failed, then completed", _abort),
    Check("F1", "data on the card beside the model", "7 probes, 5 %, it trains", _resident, is_quick=False),
)
