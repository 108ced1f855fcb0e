"""The throughput of the trials, and plain `fit` measured beside it."""

from __future__ import annotations

import pytest
from fakes import ScriptedExecutor, device

from search_spaces.space import Setting
from tuning.machine.advice import advise
from tuning.machine.machine import Machine
from tuning.machine.throughput import Measured, ThroughputFindings
from tuning.messages import Request, Throughput, ThroughputRequest
from tuning.objective import Objective
from tuning.stats.recommendation import Recommendation, recommend
from tuning.trial import Status, Trial, TrialOutcome, finished_trial

MEASURED_S = {"keras": 0.02, "device": 0.004}  # of an update


def recommendation() -> Recommendation:
    trials = [finished_trial(32, seed, 0.9, seconds=1.0) for seed in range(3)]
    return recommend(trials, objective=Objective("val_accuracy"))


def record(number: int, loop: str, rate: float | None, batch_size: int = 32, threads: int | None = None) -> Trial:
    outcome = TrialOutcome(
        str(number),
        Status.COMPLETED,
        loop=loop,
        examples_per_second=rate,
        settings={"steps_per_execution": 45, "jit_compile": False, "intra_op_threads": threads},
    )
    return Trial(Setting(batch_size, None), number, trial_id=str(number), outcome=outcome)


def executor(workers: int = 1, cores: int = 2) -> ScriptedExecutor:
    def measure(request: Request) -> Throughput:
        assert isinstance(request, ThroughputRequest)
        return Throughput(request.trial_id, request.batch_size, request.loop, MEASURED_S[request.loop])

    return ScriptedExecutor(devices=[device(f"cpu:{number}", cores=cores) for number in range(workers)], probes=measure)


def test_both_loops_are_measured_alone_whatever_the_clocks_of_the_trials_say() -> None:
    records = [record(0, "device", 7000.0), record(1, "device", 9000.0), record(3, "xla", 1.0, batch_size=64)]
    advice = advise(executor(), recommendation(), records, Machine(), epochs=2)
    assert advice is not None
    assert (advice.loop, advice.examples_per_second) == ("device", pytest.approx(32 / MEASURED_S["device"]))
    assert advice.plain_fit_examples_per_second == pytest.approx(32 / MEASURED_S["keras"])
    assert (advice.steps_per_execution, advice.jit_compile) == (45, False)


def test_what_has_been_timed_is_not_timed_again() -> None:
    rows = [Measured("keras", Throughput("t", size, "keras", seconds)) for size, seconds in ((32, 0.5), (64, 0.1))]
    again = [Measured("keras", Throughput("t", 32, "keras", 0.25))]
    machine = Machine(
        throughput=ThroughputFindings(tuple(rows), {}), throughput_again=ThroughputFindings(tuple(again), {})
    )
    measuring = executor()
    advice = advise(measuring, recommendation(), [record(0, "device", 7000.0)], machine, epochs=2)
    assert advice is not None
    assert advice.plain_fit_examples_per_second == pytest.approx(32 / 0.25)
    assert [request.loop for request in measuring.probed] == ["device"]


@pytest.mark.parametrize(("threads", "told"), [(1, "one CPU thread"), (3, "3 CPU threads")])
def test_fewer_threads_than_cores_are_measured_and_told(threads: int, told: str) -> None:
    measuring = executor(workers=2, cores=4)
    advice = advise(measuring, recommendation(), [record(0, "device", 7000.0, threads=threads)], Machine(), epochs=2)
    assert advice is not None
    assert advice.threads == threads
    assert [request.threads for request in measuring.probed if isinstance(request, ThroughputRequest)] == [threads] * 2
    sentence, *_ = advice.tell().split(". ")
    assert sentence.endswith(
        f"examples per second here with {told}, as in the trials: start Python with "
        f"TF_NUM_INTRAOP_THREADS={threads} and TF_NUM_INTEROP_THREADS={threads}"
    )


def test_a_thread_per_core_is_what_anyone_has() -> None:
    advice = advise(executor(cores=4), recommendation(), [record(0, "device", 7000.0, threads=4)], Machine(), epochs=2)
    assert advice is not None
    assert advice.threads is None
    assert "thread" not in advice.tell()


def test_plain_fit_has_one_figure() -> None:
    advice = advise(executor(), recommendation(), [record(0, "keras", 7000.0)], Machine(), epochs=2)
    assert advice is not None
    assert advice.examples_per_second == advice.plain_fit_examples_per_second


@pytest.mark.parametrize("records", [[], [record(0, "device", None)], [record(0, "device", 7000.0, batch_size=64)]])
def test_nothing_is_told_of_what_was_not_timed(records: list[Trial]) -> None:
    assert advise(executor(), recommendation(), records, Machine(), epochs=2) is None


def test_a_plain_fit_that_fails_leaves_no_advice() -> None:
    failing = ScriptedExecutor(probes=lambda request: TrialOutcome(request.trial_id, Status.FAILED, reason="no"))
    assert advise(failing, recommendation(), [record(0, "device", 7000.0)], Machine(), epochs=2) is None
