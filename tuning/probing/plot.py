"""The probe in three pictures: memory with its limit, throughput with its knees, noise scale by progress."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

from tuning.figures import memory, noise, throughput
from tuning.probing.memory import MemoryFindings
from tuning.probing.noise import NoiseFindings
from tuning.probing.probe import Probe
from tuning.probing.throughput import CHOSEN, KERAS, ThroughputFindings

FORMATS = ("png", "svg")


def draw(probe: Probe) -> Figure:
    """One figure with three panels; a panel without data says so."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    figure.suptitle(f"{probe.workload} on {probe.device}")
    left, middle, right = figure.subplots(1, 3)
    _draw_memory(left, probe.memory)
    _draw_throughput(middle, probe.throughput)
    _draw_noise(right, probe.noise)
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
    axes.set_title("Peak memory")
    is_limited = found.limited_by == "memory"
    memory.draw(
        axes,
        {probe.batch_size: probe.peak_bytes for probe in found.probes if probe.fits and probe.peak_bytes},
        lost=[probe.batch_size for probe in found.probes if not probe.fits],
        line=None if found.line is None else found.line.bytes,
        limit_bytes=found.limit.bytes if is_limited else None,
    )


def _draw_throughput(axes: Any, found: ThroughputFindings) -> None:
    axes.set_title("Throughput")
    rates: dict[str, dict[int, float]] = {}
    for row in found.rows:
        rates.setdefault(f"{row.series} loop", {})[row.batch_size] = row.examples_per_second
    if rates:
        throughput.draw(axes, rates, {f"{series} loop": found.knee(series) for series in (KERAS, CHOSEN)})
    else:
        _say(axes, "not measured")


def _draw_noise(axes: Any, found: NoiseFindings) -> None:
    axes.set_title("Gradient noise scale")
    points = [(float(point.at_examples), point.value, point.low, point.high) for point in found.points]
    if points:
        noise.draw(axes, {"90 % interval": points})
    else:
        _say(axes, "not measured")


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
