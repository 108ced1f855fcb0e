"""The figures of a report about the machine and the gradient: throughput, memory, noise scale."""

from __future__ import annotations

from collections.abc import Mapping

from tuning.figures import memory, noise, throughput
from tuning.reporting.analysis import Analysis
from tuning.reporting.evidence import Evidence
from tuning.reporting.section import Section, left_out
from tuning.selection.memory_line import fit_memory
from tuning.selection.throughput import knee
from tuning.trial import Status

PLAIN, TRIALS = "plain model.fit", "the trials' loop"
_NAMES = {"keras": PLAIN, "user": PLAIN, "chosen": TRIALS, "trials": TRIALS}
_MIB = 2**20


def throughput_section(evidence: Evidence, analysis: Analysis) -> Section:
    """Examples per second of plain Keras and of the loop that trained, with their knees."""
    title = "Throughput by batch size"
    rates = {_NAMES.get(name, name): dict(by) for name, by in evidence.measurements.examples_per_second.items()}
    told = "Measured by the probe, nothing else running."
    if not rates:
        own = dict(analysis.close.costs.examples_per_second)
        if not own:
            return left_out(title, "No trial logged its throughput.")
        told = "The trials' own throughput, as they ran: no probe was recorded for this study."
        if (advice := evidence.answer.advice) is not None:
            rates[PLAIN] = {advice.batch_size: advice.plain_fit_examples_per_second}
            told += f" Plain model.fit was measured at {advice.batch_size} alone."
        rates[TRIALS] = own
    knees = {name: _knee(found) for name, found in rates.items()}
    return Section(
        title,
        lambda axes: throughput.draw(axes, rates, knees),
        f"{told} At the knee a batch size has 90 % of the best throughput; larger ones hardly train faster.",
    )


def memory_section(evidence: Evidence) -> Section:
    """Peak memory with its line and limit."""
    title = "Peak memory by batch size"
    measured = evidence.measurements
    peaks = dict(measured.peak_memory_bytes)
    told = "Measured by the probe."
    if len(peaks) < 2:
        rows = evidence.answer.recommendation.table
        peaks |= {row.batch_size: row.peak_memory_bytes for row in rows if row.peak_memory_bytes is not None}
        told = "The largest of each batch size's trials, everything in the worker's memory included."
    if not peaks:
        return left_out(title, "No trial logged its peak memory.")
    line = fit_memory(peaks) if len(peaks) > 1 else None
    if line is not None and line.accepted and line.bytes_per_example > 0:
        told += f" An example takes {line.bytes_per_example / _MIB:.3g} MiB."
    limit = measured.memory_limit_bytes
    if limit is not None:
        source = f" ({measured.memory_limit_source})" if measured.memory_limit_source else ""
        told += f" The limit is {limit / _MIB:,.0f} MiB{source}."
    lost = sorted({t.batch_size for t in evidence.results if t.status is Status.OUT_OF_MEMORY})
    return Section(
        title,
        lambda axes: memory.draw(
            axes,
            {size: peak for size, peak in peaks.items() if size not in lost},
            lost=lost,
            line=line.bytes if line is not None and line.accepted else None,
            limit_bytes=limit,
        ),
        told,
    )


def noise_section(evidence: Evidence, analysis: Analysis) -> Section:
    """Gradient noise scale by training progress."""
    title = "Gradient noise scale"
    measured = evidence.measurements
    series: dict[str, list[noise.Point]] = {}
    if measured.noise_scale:
        series["probe"] = [(float(p.at_examples), p.value, p.low, p.high) for p in measured.noise_scale]
    for size, points in sorted(measured.trial_noise_scale.items()):
        series[f"batch size {size}"] = [(float(at), value, None, None) for at, value in points]
    if not series:
        return left_out(title, "It was not measured; batch-size probe measures it.")
    law = analysis.wide.explanation.scaling_law
    return Section(
        title,
        lambda axes: noise.draw(
            axes, series, critical=law.critical_batch_size if law is not None and law.identified else None
        ),
        "A forecast, within a factor of ten, of the critical batch size; it grows as training goes on."
        + (" Bars are 90 % intervals." if measured.noise_scale else ""),
    )


def _knee(rates: Mapping[int, float]) -> int | None:
    """None for a single size."""
    return knee({size: size / rate for size, rate in rates.items()}) if len(rates) > 1 else None
