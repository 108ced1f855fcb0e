"""The training clock, driven by a fake time."""

import random

import pytest
from asynchronous import AsynchronousDevice, FakeTime

from tuning.loops.callbacks import TrainingClock


def compiled_clock(time, *, counts_gaps):
    clock = TrainingClock(counts_gaps=counts_gaps, now=time)
    clock.expect_no_compiling()
    return clock


def run(clock, time, durations, *, updates=1, gap=0.0):
    for duration in durations:
        clock.run(lambda duration=duration: time.pass_by(duration), updates)
        time.pass_by(gap)


def test_compiling_is_what_the_first_execution_took_beyond_the_steady_rate():
    time = FakeTime()
    clock = TrainingClock(counts_gaps=False, now=time)
    run(clock, time, [5.0, 1.5, 1.0, 1.0, 1.0])
    assert clock.seconds_per_update == pytest.approx(1.0)
    assert clock.compile_seconds == pytest.approx(4.0)
    assert clock.seconds == pytest.approx(9.5 - 4.0)


def test_two_executions_take_the_second_for_steady():
    time = FakeTime()
    clock = TrainingClock(counts_gaps=False, now=time)
    run(clock, time, [5.0, 1.0], updates=2)
    assert clock.seconds_per_update == pytest.approx(0.5)
    assert clock.seconds == pytest.approx(2.0)


def test_one_compiling_execution_tells_no_rate():
    time = FakeTime()
    clock = TrainingClock(counts_gaps=False, now=time)
    run(clock, time, [5.0])
    assert clock.seconds_per_update is None
    assert clock.compile_seconds is None
    assert clock.seconds == 0.0


def test_a_compiled_program_counts_from_the_first_execution():
    time = FakeTime()
    clock = compiled_clock(time, counts_gaps=False)
    run(clock, time, [2.0], updates=4)
    assert clock.compile_seconds == 0.0
    assert clock.seconds == pytest.approx(2.0)
    assert clock.seconds_per_update == pytest.approx(0.5)


@pytest.mark.parametrize(("counts_gaps", "seconds"), [(True, 4.0 + 3 * 0.25), (False, 4.0)])
def test_time_between_executions_counts_only_without_callbacks_of_the_user(counts_gaps, seconds):
    time = FakeTime()
    clock = compiled_clock(time, counts_gaps=counts_gaps)
    run(clock, time, [1.0] * 4, gap=0.25)
    assert clock.seconds == pytest.approx(seconds)


def test_validation_between_epochs_never_counts():
    time = FakeTime()
    clock = compiled_clock(time, counts_gaps=True)
    run(clock, time, [1.0])
    clock.end_epoch({"loss": 0.5})
    time.pass_by(100.0)
    run(clock, time, [1.0])
    clock.end_epoch({"loss": 0.5})
    assert clock.seconds == pytest.approx(2.0)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("acting", [False, True], ids=["no callbacks", "callbacks act on batches"])
def test_the_busy_time_of_an_asynchronous_device_is_told_whatever_callbacks_do(seed, acting):
    """Callbacks may wait for the device by reading logs, have it do work of their own, or keep the host busy."""
    chance, device = random.Random(seed), AsynchronousDevice()
    clock = TrainingClock(counts_gaps=not acting, wait=device.wait, now=device)
    clock.expect_no_compiling()
    for _ in range(3):
        device.begin(chance.random())  # as a callback does at the beginning of an epoch
        for batch in reversed(range(chance.randint(1, 8))):
            logs = clock.run(device.train(chance.uniform(0.5, 2.0), launch=0.001), 1)
            if acting and batch:  # after the last batch the epoch ends before the callbacks are told
                for act in (device.wait, lambda: device.begin(0.3), lambda: device.pass_by(0.7)):
                    if chance.random() < 0.5:
                        act()
        clock.end_epoch(logs)
        device.begin(5.0)  # validation
        device.pass_by(1.0)
        if chance.random() < 0.5:
            device.wait()
    assert clock.seconds == pytest.approx(device.busy_seconds, rel=0.01)


def test_the_compiling_of_an_asynchronous_device_is_told_apart():
    device = AsynchronousDevice()
    clock = TrainingClock(counts_gaps=True, wait=device.wait, now=device)
    clock.run(lambda: device.pass_by(5.0) or device.begin(1.0), 1)
    for _ in range(9):
        logs = clock.run(lambda: device.begin(1.0), 1)
    clock.end_epoch(logs)
    assert clock.compile_seconds == pytest.approx(5.0)
    assert clock.seconds == pytest.approx(10.0)
