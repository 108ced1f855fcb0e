"""Probe: what fits, how fast, how noisy, and where a search should look; as JSON, and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tuning.machine.branching import Branching
from tuning.machine.machine import Machine
from tuning.machine.memory import MemoryFindings
from tuning.machine.noise import GradientNoise
from tuning.machine.throughput import CHOSEN, KERAS, ThroughputFindings
from tuning.messages import Measurement
from tuning.show.canvas import as_file, heading, image_tag, paragraphs, warnings
from tuning.show.canvas import table as html_table
from tuning.show.cost_figures import draw_memory, draw_noise, draw_throughput
from tuning.show.schema import SCHEMA_VERSION
from tuning.stats.forecast import LARGEST_TIME_RESIDUAL, best_forecast, candidate_sizes, sizes_to_search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("batch", "MiB", "fits", "keras ex/s", "chosen ex/s", "loop", "knee")


@dataclass(frozen=True)
class Probe:
    """The whole result of a probe.

    Args:
        workload: Its name.
        device: Where it was measured.
        machine: What was found.
        n_train: Training examples.
        has_batch_normalization: Whether the batch size also changes what is normalised.
        branching: The critical batch size by branching; None if nobody asked for it.
    """

    workload: str
    device: str
    machine: Machine
    n_train: int
    has_batch_normalization: bool = False
    branching: Branching | None = None

    @property
    def memory(self) -> MemoryFindings:
        """What fits."""
        assert self.machine.memory is not None
        return self.machine.memory

    @property
    def throughput(self) -> ThroughputFindings:
        """How fast; nothing where nothing fits."""
        return self.machine.throughput or ThroughputFindings((), {})

    @property
    def noise(self) -> GradientNoise:
        """How noisy the gradient is; nothing where nothing fits."""
        return self.machine.noise or GradientNoise()

    @property
    def suggested_batch_sizes(self) -> tuple[int, ...]:
        """The sizes that `tune` would search, knowing the same; empty if nothing fits."""
        candidates = candidate_sizes(self.n_train, self.memory.largest_batch_size)
        user, critical = self.machine.user, self._critical_batch_size
        if user is None:
            return candidates
        return sizes_to_search(candidates, best_forecast(user.line, user.knee, critical), critical)

    @property
    def _critical_batch_size(self) -> float:
        """That of the branches, else the forecast by the noise scale."""
        branched = None if self.branching is None else self.branching.found.value
        return branched or self.noise.critical_batch_size

    @property
    def has_answer(self) -> bool:
        """Whether any batch size fits."""
        return self.memory.verified

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the numbers do not say."""
        return (*self._memory_caveats(), *self._speed_caveats(), *self._noise_caveats())

    def to_json(self) -> dict[str, Any]:
        """One object of plain JSON values; null where something is unknown."""
        return {
            "schema_version": SCHEMA_VERSION,
            "workload": self.workload,
            "device": self.device,
            "memory": self.memory.to_json(),
            **self.throughput.to_json(),
            "noise_scale": self.noise.to_json(),
            "branches": None if self.branching is None else self.branching.to_json(),
            "suggested_batch_sizes": list(self.suggested_batch_sizes),
            "caveats": list(self.caveats),
        }

    @property
    def measurement(self) -> Measurement:
        """What the record shows of it, all in one run."""
        parts = [self.memory.measurement, self.throughput.measurement, self.noise.measurement]
        parts += [] if self.branching is None else [self.branching.measurement]
        return Measurement(
            "probe",
            params={
                **parts[0].params,
                "device": self.device,
                "suggested_batch_sizes": ",".join(map(str, self.suggested_batch_sizes)),
            },
            values={name: value for part in parts for name, value in part.values.items()},
            series=tuple(entry for part in parts for entry in part.series),
            reason=self.noise.reason,
        )

    def show(self, console: Console) -> None:
        """Print the findings, within 80 columns."""
        console.print(self._table())
        for line in self._headlines():
            console.print(line, highlight=False)
        for caveat in self.caveats:
            console.print(f"! {caveat}", style="yellow", highlight=False)

    def render(self, file_format: str = "png") -> bytes:
        """Return the picture as a file's content.

        Args:
            file_format: "png" or "svg".

        Raises:
            ValueError: If the format is another.
        """
        return as_file(draw(self), file_format)

    def _repr_html_(self) -> str:
        """The findings with their figures, for notebooks."""
        return "".join(
            [
                heading(f"{self.workload} on {self.device}"),
                paragraphs(self._headlines()),
                warnings(self.caveats),
                html_table(_COLUMNS, [self._cells(size) for size in self._sizes()]),
                image_tag(draw(self), "memory, throughput and gradient noise scale", dpi=70),
            ]
        )

    def _sizes(self) -> list[int]:
        """Every batch size that something is known of, ascending."""
        return sorted({probe.batch_size for probe in self.memory.probes} | set(self._rates()))

    def _table(self) -> Table:
        table = Table(
            box=SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            title=f"{self.workload} on {self.device}",
            title_justify="left",
        )
        for name in _COLUMNS:
            table.add_column(name, justify="left" if name in ("fits", "loop", "knee") else "right", no_wrap=True)
        for size in self._sizes():
            table.add_row(*self._cells(size))
        return table

    def _cells(self, size: int) -> tuple[str, ...]:
        probed = {probe.batch_size: probe for probe in self.memory.probes}.get(size)
        peak = "" if probed is None or probed.peak_bytes is None else f"{probed.peak_bytes / 2**20:,.0f}"
        fits = "" if probed is None else ("yes" if probed.fits else "no")
        rates, loops = self._rates().get(size, {}), self._loops()
        knees = [series for series in (KERAS, CHOSEN) if self.throughput.knee(series) == size]
        return (
            str(size),
            peak,
            fits,
            *(f"{rates[series]:,.0f}" if series in rates else "" for series in (KERAS, CHOSEN)),
            loops.get(size, ""),
            ", ".join(knees),
        )

    def _rates(self) -> dict[int, dict[str, float]]:
        found: dict[int, dict[str, float]] = {}
        for row in self.throughput.rows:
            found.setdefault(row.batch_size, {})[row.series] = row.examples_per_second
        return found

    def _loops(self) -> dict[int, str]:
        return {row.batch_size: row.throughput.loop for row in self.throughput.rows if row.series == CHOSEN}

    def _headlines(self) -> list[str]:
        memory, line = self.memory, self.memory.line
        told = [f"Largest batch size that fits: {memory.largest_batch_size}"]
        if memory.largest_batch_size == 0:
            told = ["No batch size fits"]
        elif memory.limited_by == "data":
            told[0] += ", the whole training set"
        told[0] += f" (limit {_size(memory.limit.bytes)}, {memory.limit.source})."
        if line is not None:
            slope, base = _size(line.bytes_per_example), _size(line.intercept_bytes)
            told.append(f"Memory: {base} + {slope} per example, off by at most {line.largest_residual:.1%}.")
        told.append(self._noise_headline())
        told += [] if self.branching is None else [self.branching.headline]
        if self.suggested_batch_sizes:
            told.append(f"A search should look at {', '.join(map(str, self.suggested_batch_sizes))}.")
        return told

    def _noise_headline(self) -> str:
        last = self.noise.last
        if last is not None:
            return (
                f"Gradient noise scale after {last.at_examples:,} examples: {last.value:,.0f} "
                f"(90 % interval {last.low:,.0f} to {last.high:,.0f})."
            )
        bounds = [point.low for point in self.noise.points if point.low is not None]
        if bounds:
            return f"Gradient noise scale: at least {max(bounds):,.0f}; more examples would be needed to tell."
        return f"Gradient noise scale: not measured. {self.noise.reason}".strip()

    def _memory_caveats(self) -> list[str]:
        found = []
        line = self.memory.line
        if line is not None and not line.accepted and self.memory.limited_by == "memory":
            found.append("Memory does not follow a line closely; sizes that were not run may differ.")
        if self.has_batch_normalization:
            found.append("The model uses BatchNormalization: the batch size also changes what is normalised.")
        return found

    def _speed_caveats(self) -> list[str]:
        found = []
        for series in dict.fromkeys((KERAS, CHOSEN)):
            line = self.throughput.line(series)
            if line is not None and not line.accepted:
                why = f"residual {line.largest_residual:.0%}, over {LARGEST_TIME_RESIDUAL:.0%}"
                if line.largest_residual <= LARGEST_TIME_RESIDUAL:
                    why = f"only {line.sizes} sizes"
                found.append(f"Seconds per update of the {series} loop follow no line ({why}); use the table only.")
        if limits := self.throughput.input_limits:
            told = ", ".join(
                f"{size} ({limit:,.0f} examples/s of the pipeline alone)" for size, limit in limits.items()
            )
            found.append(f"Plain Keras is bound by its input pipeline at batch size {told}.")
        found += [f"Throughput of {name}: {reason}" for name, reason in self.throughput.failures.items()]
        return found

    def _noise_caveats(self) -> list[str]:
        if self.noise.points and self.noise.last is None:
            return ["The gradient cannot be told from 0 with these examples, so the noise scale has only a lower end."]
        return []


def _size(number: float) -> str:
    """Bytes for people."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(number) >= scale:
            return f"{number / scale:,.1f} {unit}"
    return f"{number:,.0f} B"


def draw(probe: Probe) -> Figure:
    """One figure with three panels; a panel without data says so."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    figure.suptitle(f"{probe.workload} on {probe.device}")
    left, middle, right = figure.subplots(1, 3)
    _draw_memory(left, probe.memory)
    _draw_throughput(middle, probe.throughput)
    _draw_noise(right, probe.noise)
    return figure


def _draw_memory(axes: Any, found: MemoryFindings) -> None:
    axes.set_title("Peak memory")
    is_limited = found.limited_by == "memory"
    draw_memory(
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
        draw_throughput(axes, rates, {f"{series} loop": found.knee(series) for series in (KERAS, CHOSEN)})
    else:
        _say(axes, "not measured")


def _draw_noise(axes: Any, found: GradientNoise) -> None:
    axes.set_title("Gradient noise scale")
    points = [(float(point.at_examples), point.value, point.low, point.high) for point in found.points]
    if points:
        draw_noise(axes, {"90 % interval": points})
    else:
        _say(axes, "not measured")


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
