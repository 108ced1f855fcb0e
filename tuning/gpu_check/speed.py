"""Checks D, E and H: seconds that are right, loops that agree and are fast, data that stay on the card."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np

from search_spaces.data import Data
from tuning.gpu_check.bench import Bench, images, sequences, vectors
from tuning.gpu_check.check import Check, Finding, Skipped
from tuning.gpu_check.models import cnn, lstm, mlp, residual, transformer
from tuning.trial import Status

_LOOPS = ("keras", "device", "xla")
_EPOCHS = 3
_SIZES = (8, 128, 2048)


def _clock(bench: Bench, build: Any, data: Data, size: int) -> Finding:
    """Seconds told against the wall between the beginning of an epoch and its validation.

    Where a callback reads every batch's loss, what Keras and the callback do between two batches is left out.
    """
    from tuning.gpu_check.acts import Watch, WatchReading

    ratios = {loop: _told_to_wall(bench, Watch, build, data, size, loop) for loop in _LOOPS}
    reading = _told_to_wall(bench, WatchReading, build, data, size, "keras")
    worst = max(abs(ratio - 1) for ratio in ratios.values())
    told = f"{worst:.1%} off at most; read at every batch, {reading:.2f} of the wall"
    return Finding(worst <= 0.03 and 0.5 <= reading <= 1.03, told, {**ratios, "keras, reading": reading})


def _told_to_wall(bench: Bench, watch: Any, build: Any, data: Data, size: int, loop: str) -> float:
    path = bench.folder / f"{build.__name__}-{watch.__name__}-{loop}.json"
    with bench.executor(build, data, callbacks=[watch(str(path))]) as executor:
        trained = bench.train(executor, size, epochs=_EPOCHS, loop=loop)
    if trained.outcome.status is not Status.COMPLETED:
        raise RuntimeError(
            f"{build.__name__} in the {loop} loop ended {trained.outcome.status}: {trained.outcome.reason}"
        )
    told, wall = [report.seconds for report in trained.reports], json.loads(path.read_text())
    return float(round((told[-1] - told[0]) / sum(wall[1:]), 4))  # of the first epoch a part is compiling


def _compile_apart(bench: Bench) -> Finding:
    """The first trial of a size is no slower than the third, for all that it compiles and cuDNN tries."""
    with bench.executor(residual, images(8192)) as executor:
        outcomes = [bench.train(executor, 128, epochs=8, seed=seed, loop="device").outcome for seed in range(3)]
    seconds = [outcome.seconds or 0.0 for outcome in outcomes]
    compiling = outcomes[0].compile_seconds or 0.0
    ratio = seconds[0] / seconds[2]
    detail = {"seconds": seconds, "compile_seconds": [outcome.compile_seconds for outcome in outcomes]}
    return Finding(abs(ratio - 1) <= 0.05 and compiling > 0, f"trial 1 / trial 3 = {ratio:.3f}", detail)


def _repeatable(bench: Bench) -> Finding:
    with bench.executor(cnn, images(8192)) as executor:
        seconds = [bench.seconds_per_update(executor, 256, "device").seconds_per_update for _ in range(5)]
    spread = statistics.stdev(seconds) / statistics.mean(seconds)
    return Finding(spread <= 0.03, f"coefficient of variation {spread:.1%}", {"seconds_per_update": seconds})


def _loops_agree(bench: Bench) -> Finding:
    """Twenty updates in each loop, with float32 at its full precision."""
    before = os.environ.get("NVIDIA_TF32_OVERRIDE")
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    try:
        losses = {}
        for name, build, data in (("mlp", mlp, vectors(640)), ("cnn", cnn, images(640))):
            with bench.executor(build, data) as executor:
                runs = [bench.train(executor, 32, epochs=1, loop=loop) for loop in _LOOPS]
            losses[name] = [run.reports[-1].metrics["loss"] if run.reports else float("nan") for run in runs]
    finally:
        os.environ.pop("NVIDIA_TF32_OVERRIDE")
        if before is not None:
            os.environ["NVIDIA_TF32_OVERRIDE"] = before
    worst = max(abs(one / other - 1) for each in losses.values() for one, other in itertools.combinations(each, 2))
    return Finding(worst <= 1e-4, f"losses differ by {worst:.1e} at most", losses)


def _dtypes(bench: Bench, *others: str) -> Finding:
    """An update on data of any type takes about as long as on float32, which a crossing of the bus would not."""
    seconds = {}
    for dtype in ("float32", *others):
        with bench.executor(cnn, images(16_384, dtype=dtype)) as executor:
            seconds[dtype] = bench.seconds_per_update(executor, 64, "device").seconds_per_update
    ratios = {dtype: round(value / seconds["float32"], 3) for dtype, value in seconds.items()}
    return Finding(max(ratios.values()) <= 1.3, f"{max(ratios.values()):.2f} times float32 at most", ratios)


def _bus(bench: Bench) -> Finding:
    """In the device loop no example crosses the bus: an update copies its rows' numbers and a few scalars."""
    from tuning.gpu_check.acts import CountBusBytes

    size, n_train, told = 64, 16_384, {}
    for dtype in ("float32", "uint8", "int64"):
        path = bench.folder / f"bus-{dtype}.json"
        with bench.executor(cnn, images(n_train, dtype=dtype), callbacks=[CountBusBytes(str(path))]) as executor:
            bench.train(executor, size, epochs=2, loop="device")
        told[dtype] = json.loads(path.read_text())
    most = max(copied["to_card"] for copied in told.values()) / (n_train // size)
    if not sum(copied["copies"] for copied in told.values()):
        raise Skipped("needs TensorFlow's profiler to see copies (CUPTI)")
    return Finding(most <= 8 * size + 2**16, f"{most:,.0f} bytes of an update to the card at most", told)


def _pipeline(bench: Bench) -> Finding:
    """Images that a pipeline makes, and that are copied to the card ahead of time, are those that it holds already."""
    from tuning.gpu_check.acts import as_float

    raw = images(4096, dtype="uint8")
    held = replace(raw, x_train=np.float32(raw.x_train) / 256, x_val=np.float32(raw.x_val) / 256)
    losses = []
    for data in (held, replace(raw, load=as_float)):
        with bench.executor(cnn, data) as executor:
            reports = bench.train(executor, 128, loop="keras").reports
        losses.append([report.metrics[name] for report in reports for name in ("loss", "val_loss")] or [float("nan")])
    worst = float(np.max(np.abs(np.divide(losses[0], losses[1]) - 1)))
    return Finding(worst <= 1e-3, f"losses differ by {worst:.1e} at most", {"held": losses[0], "made": losses[1]})


def _never_slower(bench: Bench, build: Any, data: Data) -> Finding:
    ratios, chosen = {}, {}
    with bench.executor(build, data) as executor:
        for size in _SIZES:
            plain = bench.seconds_per_update(executor, size, "keras")
            ours = bench.seconds_per_update(executor, size, "auto", epochs=50)
            ratios[str(size)] = round(plain.seconds_per_update / ours.seconds_per_update, 2)
            chosen[str(size)] = ours.loop
    told = ", ".join(f"{ratio:.2f} at {size} ({chosen[size]})" for size, ratio in ratios.items())
    return Finding(min(ratios.values()) >= 0.97, f"times plain fit: {told}", {"ratios": ratios, "loops": chosen})


def _recurrences(bench: Bench) -> Finding:
    """cuDNN's recurrences, which XLA cannot compile, train in plain blocks, and are refused in one line otherwise."""
    with bench.executor(lstm, sequences()) as executor:
        auto = bench.train(executor, 64, epochs=10).outcome
        xla = bench.train(executor, 64, epochs=1, loop="xla").outcome
    reason = str(auto.settings.get("loop_reason"))
    holds = auto.loop == "device" and xla.status is Status.FAILED and len(xla.reason.splitlines()) == 1
    return Finding(holds, f"auto: {auto.loop} ({reason}); xla: {xla.status}: {xla.reason}")


def _abandoned_compile(bench: Bench) -> Finding:
    """An update takes as long while XLA still compiles, in another thread, what nobody waits for any more."""
    from tuning.gpu_check.acts import CompileBeside

    path = bench.folder / "compiling.json"
    with bench.executor(cnn, images(8192), callbacks=[CompileBeside(str(path))]) as executor:
        alone, beside = (
            bench.train(executor, 128, epochs=20, seed=seed, loop="device").outcome.seconds or 0.0 for seed in (0, 1)
        )
    share = json.loads(path.read_text())
    ratio = beside / alone
    told = f"{ratio:.3f} times as long, XLA compiled at the end of {share:.0%} of the epochs"
    return Finding(abs(ratio - 1) <= 0.05 and share >= 0.5, told)


class _PowerSamples:
    """Samples a card's power ten times a second, in a thread, from its creation to `mean`.

    Args:
        uuid: The card.

    Raises:
        Skipped: If NVIDIA's management library is not there.
    """

    def __init__(self, uuid: str) -> None:
        try:
            import pynvml
        except ImportError:
            raise Skipped("needs nvidia-ml-py") from None
        pynvml.nvmlInit()
        self._card, self._library = pynvml.nvmlDeviceGetHandleByUUID(uuid), pynvml
        self._watts: list[tuple[float, float]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._is_over.wait(0.1):
            self._watts.append((time.monotonic(), self._library.nvmlDeviceGetPowerUsage(self._card) / 1000))

    def mean(self, begin: float, end: float) -> float:
        """Return the mean watts between two moments, and stop."""
        self._is_over.set()
        self._thread.join()
        return statistics.mean(watts for at, watts in self._watts if begin <= at <= end)


def _energy(bench: Bench) -> Finding:
    """The mean power told of a training of ten seconds and more, against samples of the card's power."""
    samples = _PowerSamples(bench.device.partition(":")[2])
    moments: list[float] = []
    with bench.executor(residual, images(32_768)) as executor:
        outcome = bench.train(executor, 64, epochs=8, loop="device", at_epochs=moments).outcome
    told = outcome.mean_watts
    if told is None:
        return Finding(False, f"not told: {outcome.energy_note or outcome.reason}")
    sampled = samples.mean(moments[0], moments[-1])
    detail = {"sampled_watts": sampled, "told_watts": told, "joules_per_example": outcome.joules_per_example}
    return Finding(abs(told / sampled - 1) <= 0.1, f"told {told:.0f} W, sampled {sampled:.0f} W", detail)


CHECKS = (
    Check(
        "D1",
        "the clock is right, for a small model",
        "within 3 % of the wall; half and more of it where callbacks read",
        lambda bench: _clock(bench, mlp, vectors(2**18), 128),
    ),
    Check(
        "D1-residual",
        "the clock is right, for a residual network",
        "within 3 % of the wall; half and more of it where callbacks read",
        lambda bench: _clock(bench, residual, images(8192), 32),
        is_quick=False,
    ),
    Check("D2", "compiling and autotuning are apart", "within 5 %", _compile_apart),
    Check("D3", "timings repeat", "3 %", _repeatable),
    Check("D4", "the loops agree", "1e-4", _loops_agree),
    Check(
        "D5",
        "data of every type stay on the card",
        "1.3 times float32",
        lambda bench: _dtypes(bench, "uint8", "int32", "bool"),
    ),
    Check(
        "D5-more",
        "data of more types stay on the card",
        "1.3 times float32",
        lambda bench: _dtypes(bench, "float16", "int64", "int8", "int16"),
        is_quick=False,
    ),
    Check("D5-bus", "no example crosses the bus", "8 bytes of an example and 64 KiB", _bus, is_quick=False),
    Check("D7", "batches of a pipeline train alike", "1e-3", _pipeline),
    Check("D6-mlp", "never slower than plain fit", "0.97 times", lambda bench: _never_slower(bench, mlp, vectors())),
    Check("D6-cnn", "never slower than plain fit", "0.97 times", lambda bench: _never_slower(bench, cnn, images())),
    Check(
        "D6-lstm",
        "never slower than plain fit",
        "0.97 times",
        lambda bench: _never_slower(bench, lstm, sequences()),
        is_quick=False,
    ),
    Check(
        "D6-transformer",
        "never slower than plain fit",
        "0.97 times",
        lambda bench: _never_slower(bench, transformer, sequences()),
        is_quick=False,
    ),
    Check("H1", "energy is that of the card", "within 10 % of sampled power", _energy),
    Check("E1", "cuDNN's recurrences are not given to XLA", "device; one line", _recurrences),
    Check("E2", "an abandoned compile disturbs no timing", "within 5 %", _abandoned_compile, is_quick=False),
)
