"""Seconds per update at each batch size, for plain Keras and for the loop that trials train with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuning.messages import Measurement, Throughput, ThroughputRequest
from tuning.run.asking import ask_again
from tuning.run.executor import Executor
from tuning.stats.forecast import ThroughputLine, fit_throughput, knee
from tuning.stats.input_bound import INPUT_SHARE
from tuning.trial import HyperparameterValue, TrialOutcome

KERAS, CHOSEN = "keras", "chosen"
CHUNKS, CHUNK_SECONDS = 3, 0.2
"""The slices in which a batch size is timed, and the least seconds of each."""
_SMALLEST, _LARGEST = 8, 4096
_MOST_SIZES = 6
_UPDATES_PER_SIZE = 8  # warm-up and one per chunk, where an update takes longer than a chunk
_PATIENCE_S = 20.0
_LEAST_SIZES, _LEAST_RISE = 4, 0.05


@dataclass(frozen=True)
class Measured:
    """One row of the table.

    Args:
        series: "keras" for plain Keras, "chosen" for the loop that trials train with.
        throughput: What was measured.
    """

    series: str
    throughput: Throughput

    @property
    def batch_size(self) -> int:
        """Examples per update."""
        return self.throughput.batch_size

    @property
    def examples_per_second(self) -> float:
        """Examples that one second of updates takes in."""
        return self.throughput.batch_size / self.throughput.seconds_per_update

    @property
    def is_input_bound(self) -> bool:
        """Whether the input pipeline alone needs nearly as long as the whole update."""
        alone = self.throughput.input_seconds_per_update
        return alone is not None and alone >= INPUT_SHARE * self.throughput.seconds_per_update

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "batch_size": self.batch_size,
            "series": self.series,
            "loop": self.throughput.loop,
            "seconds_per_step": self.throughput.seconds_per_update,
            "examples_per_second": self.examples_per_second,
            "input_bound": self.is_input_bound,
            "input_seconds": self.throughput.input_seconds_per_update,
        }


@dataclass(frozen=True)
class ThroughputFindings:
    """How fast training runs.

    Args:
        rows: Every measurement, by series and ascending batch size.
        failures: Why a measurement is missing, by "series batch size".
    """

    rows: tuple[Measured, ...]
    failures: Mapping[str, str]

    def seconds(self, series: str) -> dict[int, float]:
        """Measured seconds per update of a series by batch size."""
        return {row.batch_size: row.throughput.seconds_per_update for row in self.rows if row.series == series}

    def line(self, series: str) -> ThroughputLine | None:
        """`t(B) = t0 + c*B`; None for fewer than two sizes. Trust it only where it is `accepted`."""
        seconds = self.seconds(series)
        return fit_throughput(seconds) if len(seconds) > 1 else None

    def knee(self, series: str) -> int | None:
        """The smallest size with 90 % of the best measured throughput; None if nothing was measured."""
        seconds = self.seconds(series)
        return knee(seconds) if seconds else None

    @property
    def input_limits(self) -> dict[int, float]:
        """The examples per second of the pipeline alone, by the batch sizes that wait for it, ascending."""
        limits: dict[int, float] = {}
        for row in self.rows:
            alone = row.throughput.input_seconds_per_update
            if alone is not None and row.is_input_bound:
                limits[row.batch_size] = max(limits.get(row.batch_size, 0.0), row.batch_size / alone)
        return dict(sorted(limits.items()))

    @property
    def measurement(self) -> Measurement:
        """What the record shows of it."""
        seconds = [(f"seconds_per_update_{r.series}", r.throughput.seconds_per_update, r.batch_size) for r in self.rows]
        rates = [(f"examples_per_second_{row.series}", row.examples_per_second, row.batch_size) for row in self.rows]
        knees = {f"knee_{series}": knee for series in (KERAS, CHOSEN) if (knee := self.knee(series)) is not None}
        return Measurement("updates", values=knees, series=(*seconds, *rates))

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values; `from_record` reads them."""
        return {"rows": [asdict(row) for row in self.rows], "failures": dict(self.failures)}

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> ThroughputFindings:
        """Return what `to_record` wrote."""
        return cls(tuple(_read_row(row) for row in values["rows"]), values["failures"])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values under the names `throughput`, `throughput_fit` and `knee`."""
        lines = {series: self.line(series) for series in (KERAS, CHOSEN)}
        return {
            "throughput": [row.to_json() for row in self.rows],
            "throughput_fit": {series: None if line is None else _fit(line) for series, line in lines.items()},
            "knee": {series: self.knee(series) for series in (KERAS, CHOSEN)},
        }


def _read_row(row: Mapping[str, Any]) -> Measured:
    known = {**row["throughput"], "repeats": tuple(row["throughput"].get("repeats", ()))}
    return Measured(row["series"], Throughput(**known))


def sizes_to_time(largest: int, cards: int = 1) -> tuple[int, ...]:
    """At most six powers of two up to `largest`, in equal ratios, the largest power included.

    Where several cards share a batch, they are the nearest multiples below of their number.

    >>> sizes_to_time(1437)
    (8, 16, 64, 256, 1024)
    """
    top = min(_LARGEST, largest).bit_length() - 1
    low = min(_SMALLEST.bit_length() - 1, top)
    step = max(1, -(-(top - low) // (_MOST_SIZES - 1)))
    powers = {2**power for power in range(top, low - 1, -step)} | {2**low}
    return tuple(sorted({max(cards, size - size % cards) for size in powers}))


def probe_throughput(
    executor: Executor,
    sizes: Sequence[int],
    *,
    loop: str = "auto",
    epochs: int = 1,
    hyperparameters: Mapping[str, HyperparameterValue] | None = None,
    evaluation_batch_size: int = 256,
    rough: str | None = None,
) -> ThroughputFindings:
    """Time each size under plain Keras and under `loop`, one after another, with nothing else running.

    A series ends early where the next size would take longer than 20 s, or where the throughput has risen by less than
    5 % over the last two of at least four sizes: it stays what it is.

    Args:
        executor: Whose first device measures; its others must be idle.
        sizes: Ascending.
        loop: The loop that trials train with; "keras" measures a single series.
        epochs: The epochs of the training that "auto" chooses its loop for.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
        rough: The series of which three sizes suffice, the ends and the middle: it only tells how long trials take.
    """
    rows: list[Measured] = []
    failures: dict[str, str] = {}
    for series, asked in ((KERAS, KERAS), (CHOSEN, loop)):
        if series == CHOSEN and loop == KERAS:
            rows += [Measured(CHOSEN, row.throughput) for row in rows]
            break
        requests = (
            ThroughputRequest(
                f"throughput-{series}-{size}",
                size,
                loop=asked,
                epochs=epochs,
                hyperparameters=dict(hyperparameters or {}),
                evaluation_batch_size=evaluation_batch_size,
                chunks=CHUNKS,
                chunk_seconds=CHUNK_SECONDS,
            )
            for size in (_ends_and_middle(sizes) if series == rough else sizes)
        )
        for request, answer in answers(executor, requests):
            if isinstance(answer, Throughput):
                rows.append(Measured(series, answer))
                if _is_flat([row.examples_per_second for row in rows if row.series == series]):
                    break
            else:
                failures[f"{series} {request.batch_size}"] = answer.reason
    return ThroughputFindings(tuple(rows), failures)


def _ends_and_middle(sizes: Sequence[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys((sizes[0], sizes[len(sizes) // 2], sizes[-1])))


def _is_flat(rates: Sequence[float]) -> bool:
    """Return whether the last two rates, of ascending batch sizes, are hardly above the best before them."""
    return len(rates) >= _LEAST_SIZES and max(rates[-2:]) < (1 + _LEAST_RISE) * max(rates[:-2])


def answers(
    executor: Executor, requests: Iterator[ThroughputRequest]
) -> Iterator[tuple[ThroughputRequest, Throughput | TrialOutcome]]:
    """Yield requests of one loop by ascending batch size, each with its answer, until one would take too long."""
    last: Throughput | None = None
    for request in requests:
        if last is not None and _expected_seconds(last, request.batch_size) > _PATIENCE_S:
            return
        answer = ask_again(executor, request)
        assert isinstance(answer, (Throughput, TrialOutcome))
        last = answer if isinstance(answer, Throughput) else last
        yield request, answer


def _expected_seconds(last: Throughput, batch_size: int) -> float:
    return _UPDATES_PER_SIZE * last.seconds_per_update * batch_size / last.batch_size


def _fit(line: ThroughputLine) -> dict[str, Any]:
    return {
        "seconds_per_update": line.seconds_per_update,
        "seconds_per_example": line.seconds_per_example,
        "largest_residual": line.largest_residual,
        "accepted": line.accepted,
    }
