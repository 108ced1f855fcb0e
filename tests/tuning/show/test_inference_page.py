"""A probe of inference as people see it: table, sentence, caveats, picture, JSON."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tuning.machine.inference import InferenceFindings, InferencePoint
from tuning.messages import Inference
from tuning.show.inference_page import InferenceProbe, draw
from tuning.trial import Status

OOM = InferencePoint(64, reason="too large", status=Status.OUT_OF_MEMORY)


def point(size: int, p50: float, p95: float | None, rate: float, calls: int = 100) -> InferencePoint:
    return InferencePoint(size, Inference("i", size, calls, calls * size / rate, p50, p95, 700 * 2**20))


def probe(*points: InferencePoint, bound: float | None = None, examples: int = 10**9) -> InferenceProbe:
    return InferenceProbe("digits", "cpu:0", InferenceFindings(points, examples, bound))


SAW = (
    point(1, 0.001, 0.0015, 900.0),
    point(2, 0.001, 0.0015, 1800.0),
    point(4, 0.002, 0.0025, 1500.0),
    point(8, 0.00995, 0.0123456, 800.0),
)


def shown(found: InferenceProbe) -> str:
    told = io.StringIO()
    found.show(Console(file=told, width=80))
    return told.getvalue()


def test_the_table_fits_80_columns_and_has_what_was_measured() -> None:
    slow = point(2**20, 1.25, None, 838860.8, calls=4)
    told = shown(probe(*SAW, slow, OOM, bound=0.002))
    assert all(len(line) <= 80 for line in told.splitlines())
    rows = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.strip()[:1].isdigit()}
    assert rows["2"] == ["1,800", "1.00", "1.50", "100", "700", "recommended"]
    assert rows["4"] == ["1,500", "2.00", "2.50", "100", "700", "over"]
    assert rows["8"] == ["800", "9.95", "12.3", "100", "700", "over"]
    assert rows["1048576"] == ["838,861", "1,250", "4", "700", "over"]
    assert rows["64"] == ["out", "of", "memory"]


def test_the_answer_with_a_bound_is_the_largest_size_within_it() -> None:
    found = probe(*SAW, bound=0.003)
    assert found.has_answer
    assert found.answer == (
        "Serve with a batch size of 4: the largest one measured whose p95 latency, 2.5 ms, is within 3 ms, with 1,500 "
        "examples per second."
    )
    assert "Batch size 2 is within 3 ms, too, and has a higher throughput: 1,800" in " ".join(found.caveats)


def test_the_answer_without_a_bound_is_the_fastest_size() -> None:
    found = probe(*SAW)
    assert found.answer == (
        "Serve with a batch size of 2: the highest throughput measured, 1,800 examples per second, with a p95 latency "
        "of 1.5 ms."
    )
    assert found.caveats == ()


def test_no_size_within_the_bound_is_said_with_the_nearest() -> None:
    found = probe(*SAW, bound=0.001)
    assert not found.has_answer
    assert found.answer == "No batch size is within 1 ms: the least p95 latency measured is 1.5 ms, of batch size 1."
    assert found.to_json()["inference"]["batch_size"] is None


def test_too_few_calls_are_no_answer_and_are_counted() -> None:
    found = probe(point(1, 0.4, None, 2.5, calls=12), bound=0.5)
    assert found.answer == "No batch size is known to be within 500 ms: too few calls could be timed."
    assert "of batch size 1 is not known: it takes 20 calls, and 12 were timed" in found.caveats[0]
    assert "unknown" in shown(found)


def test_nothing_measured_says_why_once() -> None:
    found = probe(InferencePoint(1, reason="no kernel", status=Status.FAILED))
    assert found.answer == "No batch size could be measured: no kernel"
    assert found.caveats == ()
    assert [axes.texts[0].get_text() for axes in draw(found).axes] == ["not measured"] * 2


def test_what_was_not_measured_among_others_has_its_reason() -> None:
    assert "Batch size 64 was not measured: too large" in probe(*SAW, OOM).caveats


def test_a_best_size_at_the_end_of_the_data_is_told() -> None:
    ended = "Larger sizes may do better: none above the 15 examples was measured."
    assert ended in probe(*SAW, bound=0.1, examples=15).caveats
    assert ended not in probe(*SAW, bound=0.003, examples=15).caveats
    assert ended not in probe(*SAW, bound=0.1, examples=16).caveats


def test_latencies_that_scatter_are_told_with_their_sizes() -> None:
    wide = probe(point(1, 0.001, 0.0031, 900.0), point(2, 0.001, 0.003, 1800.0), point(4, 0.001, 0.1, 3600.0))
    assert "more than 3 times the median at batch size 1, 4:" in wide.caveats[0]


def test_the_json_is_plain_and_complete() -> None:
    told = json.loads(json.dumps(probe(*SAW, bound=0.003).to_json()))
    assert (told["workload"], told["device"]) == ("digits", "cpu:0")
    inference = told["inference"]
    assert (inference["batch_size"], inference["latency_bound_s"]) == (4, 0.003)
    assert inference["points"][3] == {
        "batch_size": 8,
        "calls": 100,
        "examples_per_second": pytest.approx(800.0),
        "latency_p50_s": 0.00995,
        "latency_p95_s": 0.0123456,
        "peak_memory_bytes": 700 * 2**20,
        "reason": "",
    }
    assert told["answer"].startswith("Serve with a batch size of 4")


def test_the_record_names_the_device() -> None:
    assert probe(*SAW).measurement.params == {"device": "cpu:0"}


def test_the_picture_has_throughput_and_both_latencies_with_the_bound() -> None:
    rates, latencies = draw(probe(*SAW, point(16, 0.5, None, 32.0, calls=10), bound=0.003)).axes
    assert rates.lines[0].get_ydata().tolist() == pytest.approx([900.0, 1800.0, 1500.0, 800.0, 32.0])
    assert latencies.lines[0].get_ydata().tolist() == pytest.approx([1.0, 1.0, 2.0, 9.95, 500.0])
    assert latencies.lines[1].get_ydata().tolist() == pytest.approx([1.5, 1.5, 2.5, 12.3456])
    told = {text.get_text() for text in latencies.get_legend().get_texts()}
    assert told == {"p50", "p95", "bound, 3 ms", "recommended: 4"}
    assert latencies.get_xlabel() == "batch size (examples per call)"


@pytest.mark.parametrize(("file_format", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_it_is_written_as_png_or_svg(file_format: str, start: bytes) -> None:
    assert probe(*SAW).render(file_format).startswith(start)
