"""InferenceProbe: latency, throughput and memory of inference by batch size; as JSON, as a table, as a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tuning.machine.inference import LEAST_RISE, InferenceFindings, InferencePoint
from tuning.messages import LEAST_CALLS_FOR_P95, Inference, Measurement
from tuning.show.canvas import BLUE, GREEN, GREY, VERMILION, as_file, batch_axis, legend, log_axis
from tuning.show.schema import SCHEMA_VERSION
from tuning.trial import Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ("batch", "examples/s", "p50 ms", "p95 ms", "calls", "MiB", "")
_NO_BATCH_IS_LARGER = "data"
_WIDE_SCATTER = 3  # 1.2 to 1.4 in quiet rounds of digits-cnn, up to 5 beside other programs that compute (measured)


@dataclass(frozen=True)
class InferenceProbe:
    """The whole result of a probe of inference.

    Args:
        workload: Its name.
        device: Where it was measured.
        findings: What was measured.
    """

    workload: str
    device: str
    findings: InferenceFindings

    @property
    def has_answer(self) -> bool:
        """Whether any batch size can be recommended."""
        return self.findings.best is not None

    @property
    def answer(self) -> str:
        """The batch size to serve with and why, in one sentence."""
        best, bound = self.findings.best, self.findings.bound_s
        if best is None:
            return self._why_none()
        if bound is None:
            p95 = "" if best.latency_p95_s is None else f", with a p95 latency of {_time(best.latency_p95_s)}"
            why = f"the highest throughput measured, {best.examples_per_second:,.0f} examples per second{p95}"
        else:
            assert best.latency_p95_s is not None
            why = (
                f"the largest one measured whose p95 latency, {_time(best.latency_p95_s)}, is within {_time(bound)}, "
                f"with {best.examples_per_second:,.0f} examples per second"
            )
        return f"Serve with a batch size of {best.batch_size}: {why}."

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the numbers do not say."""
        return (*self._edge_caveats(), *self._scatter_caveats(), *self._unknown_caveats())

    def to_json(self) -> dict[str, Any]:
        """Return one object of plain JSON values; null where something is unknown."""
        return {
            "schema_version": SCHEMA_VERSION,
            "workload": self.workload,
            "device": self.device,
            "inference": self.findings.to_json(),
            "answer": self.answer,
            "caveats": list(self.caveats),
        }

    @property
    def measurement(self) -> Measurement:
        """What the record shows of it."""
        return replace(self.findings.measurement, params={"device": self.device})

    def show(self, console: Console) -> None:
        """Print the findings, within 80 columns."""
        console.print(self._table())
        console.print(self.answer, highlight=False)
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

    def _table(self) -> Table:
        title = f"Inference of {self.workload} on {self.device}"
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), title=title, title_justify="left")
        for name in _COLUMNS:
            table.add_column(name, justify="right" if name else "left", no_wrap=True)
        for point in self.findings.points:
            table.add_row(*_cells(point), self._note(point))
        return table

    def _note(self, point: InferencePoint) -> str:
        """What matters of a point, in a few words; the reason of a failure is told below the table."""
        best, bound = self.findings.best, self.findings.bound_s
        if point.measured is None:
            return "out of memory" if point.status is Status.OUT_OF_MEMORY else "failed"
        if best is not None and point.batch_size == best.batch_size:
            return "recommended"
        if bound is None:
            return ""
        return "" if point.is_within(bound) else ("over" if point.exceeds(bound) else "unknown")

    def _why_none(self) -> str:
        bound, measured = self.findings.bound_s, self.findings.measured
        if not measured or bound is None:
            reason = next((point.reason for point in self.findings.points), "")
            return f"No batch size could be measured: {reason}"
        known = [found for found in measured if found.latency_p95_s is not None]
        if not known:
            return f"No batch size is known to be within {_time(bound)}: too few calls could be timed."
        least = min(known, key=lambda found: found.latency_p95_s or 0.0)
        return (
            f"No batch size is within {_time(bound)}: the least p95 latency measured is "
            f"{_time(least.latency_p95_s or 0.0)}, of batch size {least.batch_size}."
        )

    def _edge_caveats(self) -> list[str]:
        """Say where a better size may lie that the rule does not pick, or that was not measured."""
        found, best, fastest = self.findings, self.findings.best, self.findings.fastest
        told: list[str] = []
        if best is None or fastest is None:
            return told
        if fastest.examples_per_second > (1 + LEAST_RISE) * best.examples_per_second:
            told.append(
                f"Batch size {fastest.batch_size} is within {_time(found.bound_s or 0.0)}, too, and has a higher "
                f"throughput: {fastest.examples_per_second:,.0f} examples per second."
            )
        if best is found.measured[-1] and found.ended_by == _NO_BATCH_IS_LARGER:
            told.append(f"Larger sizes may do better: none above the {found.n_examples:,} examples was measured.")
        return told

    def _scatter_caveats(self) -> list[str]:
        """Name the sizes whose slow calls are much slower than the others, which a busy machine does."""
        wide = [
            str(each.batch_size)
            for each in self.findings.measured
            if each.latency_p95_s is not None and each.latency_p95_s > _WIDE_SCATTER * each.latency_p50_s
        ]
        if not wide:
            return []
        return [
            f"The p95 latency is more than {_WIDE_SCATTER} times the median at batch size {', '.join(wide)}: other "
            "programs may have disturbed the calls. An idle machine may do better."
        ]

    def _unknown_caveats(self) -> list[str]:
        unknown = [each for each in self.findings.measured if each.latency_p95_s is None]
        told = [
            f"The p95 latency of batch size {each.batch_size} is not known: it takes {LEAST_CALLS_FOR_P95} calls, and "
            f"{each.calls} were timed."
            for each in unknown
        ]
        failed = [point for point in self.findings.points if point.measured is None]
        if self.findings.measured:  # else the answer says it
            told += [f"Batch size {point.batch_size} was not measured: {point.reason}" for point in failed]
        return told


def _cells(point: InferencePoint) -> tuple[str, ...]:
    found = point.measured
    if found is None:
        return (str(point.batch_size), "", "", "", "", "")
    return (
        str(point.batch_size),
        f"{found.examples_per_second:,.0f}",
        _milliseconds(found.latency_p50_s),
        "" if found.latency_p95_s is None else _milliseconds(found.latency_p95_s),
        f"{found.calls:,}",
        f"{found.peak_memory_bytes / 2**20:,.0f}",
    )


def _milliseconds(seconds: float) -> str:
    """Return milliseconds in three significant digits, without an exponent."""
    number = 1e3 * seconds
    digits = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:,.{digits}f}"


def _time(seconds: float) -> str:
    return f"{float(f'{seconds * 1e3:.3g}'):g} ms" if seconds < 1 else f"{seconds:.3g} s"


def draw(probe: InferenceProbe) -> Figure:
    """Return one figure with two panels, throughput and latency; a panel without data says so."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(f"Inference of {probe.workload} on {probe.device}")
    left, right = figure.subplots(1, 2)
    left.set_title("Throughput")
    right.set_title("Latency of one call")
    if not probe.findings.measured:
        for axes in (left, right):
            axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes)
        return figure
    _draw_rates(left, probe.findings.measured)
    _draw_latencies(right, probe.findings)
    for axes in (left, right):
        _finish(axes, probe.findings)
    return figure


def _draw_rates(axes: Any, measured: tuple[Inference, ...]) -> None:
    points = [(found.batch_size, found.examples_per_second) for found in measured]
    axes.plot(*zip(*points, strict=True), "o-", color=BLUE, label="measured")
    axes.set_ylabel("examples per second")


def _draw_latencies(axes: Any, found: InferenceFindings) -> None:
    p50 = [(each.batch_size, 1e3 * each.latency_p50_s) for each in found.measured]
    p95 = [(each.batch_size, 1e3 * each.latency_p95_s) for each in found.measured if each.latency_p95_s is not None]
    axes.plot(*zip(*p50, strict=True), "o-", color=BLUE, label="p50")
    if p95:
        axes.plot(*zip(*p95, strict=True), "^-", color=VERMILION, label="p95")
    if found.bound_s is not None:
        axes.axhline(1e3 * found.bound_s, color=GREY, linestyle="--", label=f"bound, {_time(found.bound_s)}")
    axes.set_ylabel("milliseconds")


def _finish(axes: Any, found: InferenceFindings) -> None:
    best = found.best
    if best is not None:
        axes.axvline(best.batch_size, color=GREEN, linestyle=":", label=f"recommended: {best.batch_size}")
    log_axis(axes)
    batch_axis(axes, [each.batch_size for each in found.measured])
    axes.set_xlabel("batch size (examples per call)")
    legend(axes)
