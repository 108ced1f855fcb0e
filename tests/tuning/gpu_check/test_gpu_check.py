"""The checks of a GPU without one: their judgement of made-up measurements, and what is said where nothing can be."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import device

from search_spaces import Data
from tuning.gpu_check import __main__ as command
from tuning.gpu_check import bench, memory, neighbours, places, speed
from tuning.gpu_check.bench import Bench, Trained
from tuning.gpu_check.check import Check, Finding, Skipped, Verdict, carry_out, summary
from tuning.gpu_check.table import NOTHING, table_of
from tuning.messages import Throughput
from tuning.run import executor as executor_module
from tuning.run.cuda_driver import DriverAnswer, Gpu
from tuning.run.memory_limit import MemoryLimit
from tuning.trial import EpochReport, Status, TrialOutcome

GPU = Gpu("GPU-1", "Imaginary A1", 40 * 2**30, "8.0")
CARD = device("gpu:GPU-1", uuid="GPU-1", kind="Imaginary A1", memory=MemoryLimit(38 * 2**30, "GPU"))
CHECKS = {check.id: check for check in command.CHECKS}


class FakeExecutor:
    """An executor whose device is told and whose trainings are scripted by the bench."""

    def __init__(self, told: Any = CARD) -> None:
        self._told = told

    def devices(self) -> tuple[Any, ...]:
        return (self._told,)


class FakeBench(Bench):
    """A bench whose children, trainings and timings are scripted.

    Args:
        folder: For files.
        outcomes: Of the trainings, in order.
        seconds: Of an update, by loop and batch size, or of one call after another.
        told: By tasks of a child process, in order.
    """

    def __init__(
        self, folder: Path, *, outcomes: Sequence[Trained] = (), seconds: Any = None, told: Sequence[Any] = ()
    ) -> None:
        super().__init__("gpu:GPU-1", folder, {})
        object.__setattr__(self, "_outcomes", iter(outcomes))
        object.__setattr__(self, "_seconds", seconds)
        object.__setattr__(self, "_told", iter(told))

    @contextlib.contextmanager
    def executor(self, build: Any, data: Any, callbacks: Sequence[Any] = (), **setup: Any) -> Iterator[Any]:
        yield FakeExecutor()

    def train(self, *arguments: Any, **wishes: Any) -> Trained:
        return next(self._outcomes)

    def child(self, task: str, *arguments: str, **variables: str) -> Any:
        return next(self._told)

    @contextlib.contextmanager
    def beside(self, task: str, *arguments: str) -> Iterator[None]:
        yield

    def seconds_per_update(self, executor: Any, batch_size: int, loop: str, **wishes: Any) -> Throughput:
        found = self._seconds(loop, batch_size)
        return Throughput("t", batch_size, "xla" if loop == "auto" else loop, found)


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """No training here looks at its data, of which the checks make gigabytes."""

    def images(count: int = 4096, side: int = 32, *, dtype: str = "float32") -> Data:
        return bench.images(min(count, 8), side, dtype=dtype)

    for module in (memory, neighbours, speed):
        monkeypatch.setattr(module, "images", images)


def trained(status: Status = Status.COMPLETED, *, process_id: int = 1, **fields: Any) -> Trained:
    return Trained(TrialOutcome("t", status, **fields), (), process_id)


def verdict(check_id: str, bench: Bench) -> Verdict:
    return carry_out(CHECKS[check_id], bench).status


@pytest.mark.parametrize(("first", "expected"), [(1.04, Verdict.PASS), (1.06, Verdict.FAIL), (0.94, Verdict.FAIL)])
def test_compiling_is_apart_where_the_first_trial_takes_as_long_as_the_third(
    first: float, expected: Verdict, tmp_path: Path
) -> None:
    runs = [trained(seconds=seconds, compile_seconds=3.0) for seconds in (first, 1.2, 1.0)]
    assert verdict("D2", FakeBench(tmp_path, outcomes=runs)) is expected


def test_compiling_that_is_not_told_is_not_apart(tmp_path: Path) -> None:
    runs = [trained(seconds=1.0, compile_seconds=0.0) for _ in range(3)]
    assert verdict("D2", FakeBench(tmp_path, outcomes=runs)) is Verdict.FAIL


@pytest.mark.parametrize(("last", "expected"), [(1.05, Verdict.PASS), (1.2, Verdict.FAIL)])
def test_timings_repeat(last: float, expected: Verdict, tmp_path: Path) -> None:
    seconds = iter([1.0, 1.0, 1.0, 1.0, last])
    assert verdict("D3", FakeBench(tmp_path, seconds=lambda *_: next(seconds))) is expected


@pytest.mark.parametrize(("slowest", "expected"), [(1.3, Verdict.PASS), (1.31, Verdict.FAIL)])
def test_a_type_whose_updates_take_long_has_crossed_the_bus(slowest: float, expected: Verdict, tmp_path: Path) -> None:
    seconds = iter([1.0, 1.0, slowest, 1.0])
    assert verdict("D5", FakeBench(tmp_path, seconds=lambda *_: next(seconds))) is expected


@pytest.mark.parametrize(("ours", "expected"), [(1.03, Verdict.PASS), (1.04, Verdict.FAIL), (0.2, Verdict.PASS)])
def test_no_size_may_be_slower_than_plain_fit(ours: float, expected: Verdict, tmp_path: Path) -> None:
    bench = FakeBench(tmp_path, seconds=lambda loop, size: ours if (loop, size) == ("auto", 128) else 1.0)
    assert verdict("D6-mlp", bench) is expected


@pytest.mark.parametrize(
    ("xla", "loop", "expected"),
    [
        (trained(Status.FAILED, reason="XLA cannot compile it"), "device", Verdict.PASS),
        (trained(Status.COMPLETED), "device", Verdict.FAIL),
        (trained(Status.FAILED, reason="XLA cannot compile it"), "xla", Verdict.FAIL),
    ],
)
def test_recurrences_of_cudnn_are_not_given_to_xla(xla: Trained, loop: str, expected: Verdict, tmp_path: Path) -> None:
    assert verdict("E1", FakeBench(tmp_path, outcomes=[trained(loop=loop), xla])) is expected


@pytest.mark.parametrize(
    ("failed", "then", "expected"),
    [
        (trained(Status.FAILED, reason="CUDA_ERROR_ILLEGAL_ADDRESS"), trained(process_id=2), Verdict.PASS),
        (trained(Status.FAILED, reason="CUDA_ERROR_ILLEGAL_ADDRESS"), trained(process_id=1), Verdict.FAIL),
        (trained(Status.OUT_OF_MEMORY, reason="CUDA error"), trained(process_id=2), Verdict.FAIL),
        (trained(Status.FAILED, reason="unknown"), trained(process_id=2), Verdict.FAIL),
        (trained(Status.FAILED, reason="CUDA error"), trained(Status.FAILED, process_id=2), Verdict.FAIL),
    ],
)
def test_after_a_sticky_error_the_next_trial_trains_elsewhere(
    failed: Trained, then: Trained, expected: Verdict, tmp_path: Path
) -> None:
    assert verdict("C2", FakeBench(tmp_path, outcomes=[failed, then])) is expected


@pytest.mark.parametrize("second", [trained(process_id=2), trained(process_id=1)])
def test_out_of_memory_is_told_and_leaves_a_new_worker(second: Trained, tmp_path: Path) -> None:
    full = trained(Status.OUT_OF_MEMORY)
    expected = Verdict.PASS if second.process_id == 2 else Verdict.FAIL
    assert verdict("C1", FakeBench(tmp_path, outcomes=[full, second] * 3)) is expected


def test_a_memory_limit_is_kept_where_the_small_model_trains_and_the_large_one_does_not(tmp_path: Path) -> None:
    fits, full = trained(), trained(Status.OUT_OF_MEMORY)
    assert verdict("B3", FakeBench(tmp_path, outcomes=[fits, full])) is Verdict.PASS
    assert verdict("B3", FakeBench(tmp_path, outcomes=[full, full])) is Verdict.FAIL
    assert verdict("B3", FakeBench(tmp_path, outcomes=[fits, fits])) is Verdict.FAIL


@pytest.mark.parametrize(
    ("with_it", "after_reset", "expected"),
    [(1.01, 0.0, Verdict.PASS), (1.03, 0.0, Verdict.FAIL), (0.5, 0.0, Verdict.FAIL), (1.01, 1.0, Verdict.FAIL)],
)
def test_a_peak_is_what_was_held_and_a_reset_forgets_it(
    with_it: float, after_reset: float, expected: Verdict, tmp_path: Path
) -> None:
    told = {"before": 2**20, "with_it": 2**20 + with_it * 2**30, "after_reset": 2**20 + after_reset * 2**30}
    assert verdict("B1", FakeBench(tmp_path, told=[told])) is expected


@pytest.mark.parametrize(("gibibytes", "expected"), [(38.5, Verdict.PASS), (39.5, Verdict.FAIL)])
def test_the_limit_told_is_tensorflow_s(gibibytes: float, expected: Verdict, tmp_path: Path) -> None:
    assert verdict("B2", FakeBench(tmp_path, told=[gibibytes * 2**30])) is expected


def test_what_is_hidden_is_counted_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(environment: dict[str, str]) -> DriverAnswer:
        return DriverAnswer((GPU,) if environment["CUDA_VISIBLE_DEVICES"] not in ("", "-1", "7,0") else ())

    monkeypatch.setattr(places, "ask_driver", ask)
    assert verdict("A3", FakeBench(tmp_path, told=[0, 0, 1, 1, 0, 1, 1, 1])) is Verdict.PASS
    assert verdict("A3", FakeBench(tmp_path, told=[0, 0, 1, 1, 1, 1, 1, 1])) is Verdict.FAIL


def test_cards_must_be_the_same_by_whoever_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "ask_driver", lambda _: DriverAnswer((GPU,)))
    for tool, expected in ((["GPU-1"], Verdict.PASS), (None, Verdict.PASS), (["GPU-2"], Verdict.FAIL)):
        monkeypatch.setattr(places, "_cards_by_tool", lambda tool=tool: tool)
        assert verdict("A1", FakeBench(tmp_path)) is expected


@pytest.mark.parametrize(("again", "expected"), [(Status.COMPLETED, Verdict.PASS), (Status.FAILED, Verdict.FAIL)])
def test_a_pool_in_pieces_may_cost_one_worker_but_no_batch_size(
    again: Status, expected: Verdict, tmp_path: Path
) -> None:
    full, fits = trained(Status.OUT_OF_MEMORY), trained()
    runs = [full, full, fits, *[fits] * (3 * 5), full, trained(again)]
    assert verdict("B5", FakeBench(tmp_path, outcomes=runs)) is expected


@pytest.mark.parametrize("check_id", ["G1", "G2", "A6"])
def test_one_whole_card_has_no_neighbours_and_no_slices(
    check_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "ask_driver", lambda _: DriverAnswer((GPU,)))
    assert verdict(check_id, FakeBench(tmp_path)) is Verdict.SKIP


def test_of_unlike_cards_one_model_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = replace(GPU, uuid="GPU-2", name="Imaginary B2")
    monkeypatch.setattr(neighbours, "ask_driver", lambda _: DriverAnswer((GPU, other)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "device_names", lambda *_: ("gpu:GPU-2",))
        assert verdict("G2", FakeBench(tmp_path)) is Verdict.PASS
        patch.setattr(neighbours, "device_names", lambda *_: ("gpu:GPU-1", "gpu:GPU-2"))
        assert verdict("G2", FakeBench(tmp_path)) is Verdict.FAIL


@pytest.mark.parametrize(("limit", "expected"), [(10, Verdict.PASS), (80, Verdict.FAIL)])
def test_a_slice_has_its_own_memory(
    limit: int, expected: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = replace(GPU, uuid="MIG-1", total_bytes=20 * 2**30)
    monkeypatch.setattr(neighbours, "ask_driver", lambda _: DriverAnswer((part,)))
    bench = FakeBench(tmp_path, told=[limit * 2**30])
    object.__setattr__(bench, "device", "gpu:MIG-1")
    assert verdict("A6", bench) is expected


_BROKEN = "It runs again: another program may have held memory of the card: ResourceExhaustedError"


@pytest.mark.parametrize(
    ("how", "told", "code", "expected"),
    [
        ("tied", _BROKEN, 0, Verdict.PASS),
        ("tied", "", 0, Verdict.FAIL),
        ("out_of_memory", _BROKEN, 0, Verdict.FAIL),
        (None, _BROKEN, 0, Verdict.FAIL),
        ("tied", _BROKEN, 1, Verdict.FAIL),
    ],
)
def test_a_size_that_another_program_breaks_must_train_in_the_end(
    how: str | None, told: str, code: int, expected: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        small, large = map(int, command[command.index("--batch-sizes") + 1].split(","))
        rows = [{"batch_size": small, "verdict": "recommended"}, {"batch_size": large, "verdict": how}]
        answer = json.dumps({"table": rows[: 1 + (how is not None)]})
        return subprocess.CompletedProcess(command, code, stdout=answer, stderr=told)

    monkeypatch.setattr(neighbours, "ask_driver", lambda _: DriverAnswer((GPU,)))
    monkeypatch.setattr(neighbours.subprocess, "run", run)
    assert verdict("B6", FakeBench(tmp_path)) is expected
    compile((tmp_path / "crowded.py").read_text(), "crowded.py", "exec")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([trained(Status.OUT_OF_MEMORY), trained()], Verdict.PASS),
        ([trained(Status.FAILED, reason="CUDNN_STATUS_NOT_INITIALIZED"), trained()], Verdict.FAIL),
    ],
)
def test_a_full_card_is_out_of_memory_and_no_failure(
    outcomes: Sequence[Trained], expected: Verdict, tmp_path: Path
) -> None:
    assert verdict("B8", FakeBench(tmp_path, outcomes=outcomes)) is expected


@pytest.mark.parametrize(
    ("beside", "share", "expected"), [(1.04, 1.0, Verdict.PASS), (1.06, 1.0, Verdict.FAIL), (1.0, 0.1, Verdict.FAIL)]
)
def test_a_compile_beside_may_not_slow_updates(beside: float, share: float, expected: Verdict, tmp_path: Path) -> None:
    (tmp_path / "compiling.json").write_text(json.dumps(share))
    runs = [trained(seconds=1.0), trained(seconds=beside)]
    assert verdict("E2", FakeBench(tmp_path, outcomes=runs)) is expected


@pytest.mark.parametrize(("loss", "expected"), [(1.0005, Verdict.PASS), (1.002, Verdict.FAIL), (None, Verdict.FAIL)])
def test_a_pipeline_must_train_as_what_is_held(loss: float | None, expected: Verdict, tmp_path: Path) -> None:
    def reported(loss: float) -> Trained:
        report = EpochReport("t", 1, 8, 1, {"loss": loss, "val_loss": 1.0}, seconds=1.0)
        return replace(trained(), reports=(report,))

    made = trained(Status.FAILED) if loss is None else reported(loss)
    assert verdict("D7", FakeBench(tmp_path, outcomes=[reported(1.0), made])) is expected


@pytest.mark.parametrize(
    ("to_card", "copies", "expected"),
    [(131_072, 3, Verdict.PASS), (256 * (8 * 64 + 2**16 + 1), 3, Verdict.FAIL), (0, 0, Verdict.SKIP)],
)
def test_examples_that_cross_the_bus_are_seen(to_card: int, copies: int, expected: Verdict, tmp_path: Path) -> None:
    for dtype in ("float32", "uint8", "int64"):
        told = {"to_card": to_card, "from_card": 8, "copies": copies}
        (tmp_path / f"bus-{dtype}.json").write_text(json.dumps(told))
    assert verdict("D5-bus", FakeBench(tmp_path, outcomes=[trained()] * 3)) is expected


def test_the_bytes_of_a_profile_are_counted_once_and_by_direction() -> None:
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    from tuning.gpu_check.acts import bytes_copied

    space = xplane_pb2.XSpace()
    plane = space.planes.add(name="/device:GPU:0")
    plane.stat_metadata[1].name = "memcpy_details"
    for number, name in enumerate(("MemcpyH2D", "MemcpyD2H", "MemcpyD2D", "gemm")):
        plane.event_metadata[number].name = name
    for line in (plane.lines.add(name="Stream #14(MemcpyH2D)"), plane.lines.add(name="XLA Ops")):
        for number in range(4):
            line.events.add(metadata_id=number).stats.add(metadata_id=1, str_value=f"kind_src:host size:{10 + number}")
    host = space.planes.add(name="/host:CPU")
    host.CopyFrom(plane)
    host.name = "/host:CPU"
    assert bytes_copied([space.SerializeToString()]) == {"to_card": 10, "from_card": 11, "copies": 2}


def test_what_runs_beside_ends_with_what_it_is_beside_of(tmp_path: Path) -> None:
    bench = Bench("cpu:0", tmp_path)
    with pytest.raises(RuntimeError, match="tenant has not begun"), bench.beside("tenant", str(tmp_path), "0.25", "0"):
        raise AssertionError("it has no card to hold memory of")


@pytest.mark.parametrize(("together", "expected"), [(1.1, Verdict.PASS), (1.2, Verdict.FAIL)])
def test_cards_are_compared_alone_and_together(
    together: float, expected: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "ask_driver", lambda _: DriverAnswer((GPU, replace(GPU, uuid="GPU-2"))))
    monkeypatch.setattr(neighbours, "replace", lambda bench, device: bench)
    seconds = iter([1.0, 1.0, 1.0, together])
    assert verdict("G1", FakeBench(tmp_path, seconds=lambda *_: next(seconds))) is expected


@pytest.mark.parametrize(
    ("code", "told", "expected"),
    [
        (0, "[1/2] It ran longer than the limit of 20 s for a trial, and was ended.", Verdict.PASS),
        (1, "[1/2] It ran longer than the limit of 20 s for a trial, and was ended.", Verdict.FAIL),
        (0, "[2/2] batch 64", Verdict.FAIL),
    ],
)
def test_a_trial_that_hangs_must_be_ended_and_told(
    code: int, told: str, expected: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], code, stdout="{}", stderr=told)
    monkeypatch.setattr(places.subprocess, "run", lambda *_, **__: done)
    assert verdict("C4", FakeBench(tmp_path)) is expected
    assert "time.sleep(3600)" in (tmp_path / "hangs.py").read_text()


def test_a_check_that_raises_has_failed_and_one_that_lacks_something_says_what(tmp_path: Path) -> None:
    def raising(bench: Bench) -> Finding:
        raise RuntimeError("no answer")

    def lacking(bench: Bench) -> Finding:
        raise Skipped("needs a second GPU")

    results = [carry_out(Check("X", "x", "x", run), FakeBench(tmp_path)) for run in (raising, lacking)]
    assert [(result.status, result.measured) for result in results] == [
        (Verdict.FAIL, "RuntimeError: no answer"),
        (Verdict.SKIP, "needs a second GPU"),
    ]
    assert summary(results) == {"passed": 0, "failed": 1, "skipped": 1}


def test_every_check_has_a_name_of_its_own_and_most_are_quick() -> None:
    assert len(CHECKS) == sum(len(module.CHECKS) for module in (places, memory, neighbours, speed))
    assert 15 <= sum(check.is_quick for check in CHECKS.values()) < len(CHECKS)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            DriverAnswer(),
            "This machine shows no GPU: NVIDIA's driver (libcuda.so.1) is missing, or no card is visible.",
        ),
        (DriverAnswer(problem="it fails with error 803"), "The CUDA driver cannot be used: it fails with error 803."),
    ],
)
def test_without_a_usable_gpu_the_command_says_so_in_one_line(
    answer: DriverAnswer, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ask_driver", lambda: answer)
    assert command.main(["--quick"]) == 2
    assert capsys.readouterr().err == f"gpu-check: {told}\n"


@pytest.mark.parametrize(("holds", "status"), [(True, 0), (False, 1)])
def test_the_command_writes_what_it_found(
    holds: bool, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = (
        Check("Q1", "quick", "1", lambda _: Finding(holds, "2")),
        Check("L1", "long", "1", lambda _: Finding(True, "3"), is_quick=False),
    )
    monkeypatch.setattr(command, "CHECKS", checks)
    monkeypatch.setattr(command, "_device", lambda: ("gpu:GPU-1", replace(CARD, facts=(("NVIDIA driver", "580.1"),))))
    file = tmp_path / "results" / "found.json"
    file.parent.mkdir()
    assert command.main(["--quick", "--json", str(file)]) == status
    written = json.loads(file.read_text())
    assert [check["id"] for check in written["checks"]] == ["Q1"]
    assert written["machine"]["gpus"][0]["name"] == "Imaginary A1"
    assert (written["passed"], written["failed"]) == (int(holds), int(not holds))
    assert "Q1" in capsys.readouterr().out
    assert "| Imaginary A1, driver 580.1, TensorFlow" in table_of(file.parent)
    assert ("| Q1 |" in table_of(file.parent)) is not holds


def test_without_results_nothing_has_run(tmp_path: Path) -> None:
    assert table_of(tmp_path) == NOTHING


def test_a_device_that_cannot_be_used_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ask_driver", lambda: DriverAnswer((GPU,)))

    def refuse() -> Any:
        raise executor_module.MissingGpuError("gpu:GPU-1 cannot be used: TensorFlow sees no GPU there.")

    monkeypatch.setattr(command, "first_device", lambda _: refuse())
    monkeypatch.setattr(Bench, "executor", lambda *_: contextlib.nullcontext())
    assert command.main([]) == 2
    assert "sees no GPU there" in capsys.readouterr().err


def test_the_readme_holds_the_table_of_what_was_checked() -> None:
    root = Path(__file__).parents[3]
    assert table_of(root / "docs" / "gpu") in (root / "README.md").read_text()
