"""The probe in three pictures: memory with its limit, throughput with its knees, noise scale by progress."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

from tuning.probing.memory import MemoryFindings
from tuning.probing.noise import NoiseFindings
from tuning.probing.probe import Probe
from tuning.probing.throughput import CHOSEN, KERAS, ThroughputFindings

FORMATS = ("png", "svg")
_MIB = 2**20


def draw(probe: Probe) -> Figure:
    """One figure with three panels; a panel without data says so."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    figure.suptitle(f"{probe.workload} on {probe.device}")
    memory, throughput, noise = figure.subplots(1, 3)
    _draw_memory(memory, probe.memory)
    _draw_throughput(throughput, probe.throughput)
    _draw_noise(noise, probe.noise)
    return figure


def render(probe: Probe, file_format: str = "png") -> bytes:
    """The figure as a file's content.

    Args:
        probe: What to draw.
        file_format: "png" or "svg".

    Raises:
        ValueError: If the format is another.
    """
    if file_format not in FORMATS:
        raise ValueError(f"A plot must be written as {' or '.join(FORMATS)}; got {file_format!r}. Rename the file.")
    content = io.BytesIO()
    draw(probe).savefig(content, format=file_format, dpi=110)
    return content.getvalue()


def _draw_memory(axes: Any, found: MemoryFindings) -> None:
    axes.set(title="Peak memory", xlabel="batch size", ylabel="MiB")
    fits = [(probe.batch_size, probe.peak_bytes / _MIB) for probe in found.probes if probe.fits and probe.peak_bytes]
    lost = [probe.batch_size for probe in found.probes if not probe.fits]
    if fits:
        axes.plot(*zip(*fits, strict=True), "o", color="tab:blue", label="fits")
    if lost:
        axes.plot(lost, [found.limit.bytes / _MIB] * len(lost), "x", color="tab:red", label="does not fit")
    if found.line is not None:
        ends = (0, max(probe.batch_size for probe in found.probes))
        axes.plot(ends, [found.line.bytes(size) / _MIB for size in ends], "-", color="tab:blue", alpha=0.5)
    if lost or found.limited_by == "memory":  # a limit far above would flatten the line
        axes.axhline(found.limit.bytes / _MIB, color="tab:red", linestyle="--", label="limit")
    axes.legend()


def _draw_throughput(axes: Any, found: ThroughputFindings) -> None:
    axes.set(title="Throughput", xlabel="batch size", ylabel="examples per second")
    for series, colour in ((KERAS, "tab:orange"), (CHOSEN, "tab:green")):
        rows = [(row.batch_size, row.examples_per_second) for row in found.rows if row.series == series]
        if not rows:
            continue
        axes.plot(*zip(*rows, strict=True), "o-", color=colour, label=f"{series} loop")
        knee = found.knee(series)
        axes.axvline(knee, color=colour, linestyle=":", label=f"knee at {knee}")
    if found.rows:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.legend()
    else:
        _say(axes, "not measured")


def _draw_noise(axes: Any, found: NoiseFindings) -> None:
    axes.set(title="Gradient noise scale", xlabel="examples seen", ylabel="examples")
    known = [point for point in found.points if point.value is not None]
    for point in found.points:
        if point.value is None and point.low is not None:
            axes.plot([point.at_examples], [point.low], "^", color="tab:gray")
    if known:
        at, values = [point.at_examples for point in known], [point.value or 0.0 for point in known]
        below = [value - (point.low or 0.0) for point, value in zip(known, values, strict=True)]
        above = [(point.high or 0.0) - value for point, value in zip(known, values, strict=True)]
        axes.errorbar(at, values, yerr=(below, above), fmt="o-", color="tab:purple", capsize=3)
        axes.set_yscale("log")
    elif not found.points:
        _say(axes, "not measured")


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
