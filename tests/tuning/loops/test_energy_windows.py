"""The energy of a training belongs to the seconds that its clock tells, on a fake time and a fake card."""

import itertools

import keras_tuner
import numpy as np
import pytest
from asynchronous import FakeTime
from energy_helpers import UUID, FakeNvml, add_domain
from training_helpers import dense_model, make_data, make_trial

from tuning.loops.callbacks import TrainingClock
from tuning.loops.energy import NoMeter, NvmlMeter, RaplMeter
from tuning.loops.energy_windows import EnergyWindows, measure_idle_watts
from tuning.loops.session import TrainingSession
from tuning.trial import Status


class Course:
    """A training on a fake time: executions, the end of epochs, and validation of another power between them."""

    def __init__(self, *, watts=200.0, counts_gaps=True, compiled=False, idle_watts=None):
        self.time = FakeTime()
        self.library = FakeNvml(self.time, watts)
        self.windows = EnergyWindows(NvmlMeter(UUID, self.library), idle_watts, now=self.time)
        self.clock = TrainingClock(counts_gaps=counts_gaps, energy=self.windows, now=self.time)
        if compiled:
            self.clock.expect_no_compiling()

    def epoch(self, durations, *, gap=0.0, validation=0.0):
        for duration in durations:
            self.clock.run(lambda duration=duration: self.time.pass_by(duration), 1)
            self.time.pass_by(gap)
        self.clock.end_epoch({"loss": np.float32(0.0)})
        self.time.pass_by(validation)

    def use(self, examples=100):
        return self.windows.use(self.clock.seconds, examples)


def test_joules_are_those_of_the_training_seconds_and_not_of_validation():
    course = Course(compiled=True)
    course.epoch([1.0] * 4, validation=7.0)
    course.epoch([1.0] * 4, validation=7.0)
    used = course.use(examples=50)
    assert course.clock.seconds == pytest.approx(8.0)
    assert used.joules == pytest.approx(200 * 8.0, rel=0.01)
    assert (used.mean_watts, used.joules_per_example) == (pytest.approx(200.0, rel=0.01), pytest.approx(32, rel=0.01))
    assert used.note == ""


def test_the_power_of_validation_changes_nothing(monkeypatch):
    course = Course(compiled=True)
    extra = 0.0

    def counter(card):
        return 1000 * (200.0 * course.time.now + extra)

    monkeypatch.setattr(course.library, "nvmlDeviceGetTotalEnergyConsumption", counter)
    course.epoch([2.0] * 2)
    course.time.pass_by(3.0)
    extra = 3.0 * 800  # the validation draws 1000 W
    course.epoch([2.0] * 2)
    assert course.use().joules == pytest.approx(200 * 8.0)


def test_an_execution_that_may_compile_comes_before_the_first_window_and_its_training_is_estimated(monkeypatch):
    course = Course()
    monkeypatch.setattr(
        course.library,
        "nvmlDeviceGetTotalEnergyConsumption",
        lambda card: 1000 * (900.0 * min(course.time.now, 6.0) + 200.0 * max(0.0, course.time.now - 6.0)),
    )
    course.epoch([6.0, 1.0, 1.0, 1.0])  # five seconds of compiling, at 900 W
    assert course.clock.seconds == pytest.approx(4.0)
    assert course.use().mean_watts == pytest.approx(200.0)
    assert course.use().joules == pytest.approx(4.0 * 200.0)


def test_a_program_that_is_compiled_is_read_from_its_first_execution(monkeypatch):
    course = Course(compiled=True)
    monkeypatch.setattr(
        course.library,
        "nvmlDeviceGetTotalEnergyConsumption",
        lambda card: 1000 * (300.0 * min(course.time.now, 2.0) + 100.0 * max(0.0, course.time.now - 2.0)),
    )
    course.epoch([2.0, 2.0])
    assert course.use().joules == pytest.approx(300.0 * 2 + 100.0 * 2)


def test_gaps_that_do_not_count_have_the_mean_power_and_their_seconds_cost_nothing():
    course = Course(counts_gaps=False, compiled=True)
    course.epoch([1.0] * 4, gap=1.0)
    assert course.clock.seconds == pytest.approx(4.0 + 1.0)  # the last gap is waited for as the device's
    assert course.use().joules == pytest.approx(200 * 5.0, rel=0.01)


def test_windows_below_a_second_are_not_read():
    course = Course(compiled=True)
    for _ in range(20):
        course.epoch([0.3, 0.3])
    used = course.use()
    assert (used.joules, used.mean_watts, used.joules_per_example) == (None, None, None)
    assert used.note == "epochs shorter than 1 second are too short for an energy counter"


@pytest.mark.parametrize(("seconds", "readings"), [(0.2, 2), (0.3, 40)])
def test_a_training_of_far_too_short_epochs_is_read_once_since_reading_takes_time(seconds, readings, monkeypatch):
    course, read = Course(compiled=True), []
    own = course.library.nvmlDeviceGetTotalEnergyConsumption
    counter = "nvmlDeviceGetTotalEnergyConsumption"
    monkeypatch.setattr(course.library, counter, lambda card: read.append(1) or own(card))
    for _ in range(20):
        course.epoch([seconds])
    assert len(read) == readings
    assert "too short for an energy counter" in course.use().note


@pytest.mark.parametrize(("short", "is_told"), [(4, True), (9, False)])
def test_windows_stand_for_the_training_only_if_they_are_half_of_it(short, is_told):
    course = Course(compiled=True)
    course.epoch([1.0, 3.0])
    for _ in range(short):
        course.epoch([0.9])
    assert (course.use().joules is not None) == is_told


def test_a_counter_that_does_not_move_is_refused():
    course = Course(compiled=True)
    course.library.stands_still = True
    course.epoch([3.0])
    course.library.stands_still = False
    course.epoch([3.0] * 5)
    assert course.use().note == "the energy counter did not move in 3 seconds of training"
    assert course.use().joules is None


@pytest.mark.parametrize("at", [0, 1])
def test_a_second_process_at_either_end_of_a_window_refuses_the_training(at):
    course = Course(compiled=True)
    pids = iter([[11]] * 2 * at + [[11, 12]] + [[11]] * 10)
    course.library.nvmlDeviceGetComputeRunningProcesses = lambda card: [
        type("Process", (), {"pid": pid}) for pid in next(pids)
    ]
    course.epoch([2.0])
    course.epoch([2.0])
    assert "2 processes computed on the card" in course.use().note
    assert course.use().joules is None


def test_a_refused_training_is_read_no_more():
    course = Course(compiled=True)
    course.library.broken = "GPU is lost"
    for _ in range(5):
        course.epoch([1.0] * 3)
    assert course.library.reads == 2  # once to see that there is a counter, once more to fail
    assert "GPU is lost" in course.use().note


def test_state_is_the_mean_and_throttling_what_any_window_saw():
    course = Course(compiled=True, idle_watts=55.0)
    course.library.bits = itertools.chain([0x1, 0x4, 0x20], itertools.repeat(0))
    clocks = iter([1000, 877, 1400, 877, 1200, 877])
    course.library.nvmlDeviceGetClockInfo = lambda card, kind: next(clocks)
    for _ in range(3):
        course.epoch([1.0, 1.0])
    used = course.use()
    told = {"idle_watts": 55.0, "power_limit_watts": 250.0, "sm_clock_mhz": 1200.0, "memory_clock_mhz": 877.0}
    assert used.measurements == told
    assert used.throttled_by == "power limit, heat (software)"
    assert used.mean_watts == pytest.approx(200.0, rel=0.01)  # nothing is subtracted


def test_a_counter_that_overflows_is_looked_at_in_between(tmp_path):
    add_domain(tmp_path, "intel-rapl:0", "package-0", 0, most=100_000_000)  # 100 J: full after 100 s at 1 W
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    time = FakeTime()
    windows = EnergyWindows(RaplMeter(tmp_path), now=time)
    clock = TrainingClock(counts_gaps=True, energy=windows, now=time)
    clock.expect_no_compiling()

    def execution():
        time.pass_by(30.0)
        counter.write_text(f"{int(time.now * 1e6) % 100_000_000}\n")
        return {"loss": np.float32(0.0)}

    for _ in range(20):
        clock.run(execution, 1)
    clock.end_epoch({"loss": np.float32(0.0)})
    assert windows.use(clock.seconds, 600).joules == pytest.approx(600.0)
    assert windows.use(clock.seconds, 600).joules_per_example == pytest.approx(1.0)


def test_idle_power_is_measured_in_a_second_of_waiting():
    time = FakeTime()
    library = FakeNvml(time, watts=50.0)
    assert measure_idle_watts(NvmlMeter(UUID, library), sleep=time.pass_by, now=time) == pytest.approx(50.0)
    assert time.now == 1.0
    library.stands_still = True
    assert measure_idle_watts(NvmlMeter(UUID, library), sleep=time.pass_by, now=time) is None


def test_nobody_waits_where_there_is_nothing_to_read():
    assert measure_idle_watts(NoMeter("no counter"), sleep=pytest.fail) is None


class Lamp:
    """A meter of ten joules more at each reading."""

    def __init__(self):
        self.read = 0

    def joules(self):
        self.read += 1
        return 10.0 * self.read

    def state(self):
        return {"power_limit_watts": 60.0, "throttle_bits": 4.0}


@pytest.mark.parametrize("loop", ["keras", "device"])
def test_a_trial_tells_its_energy_and_a_worker_its_idle_power_once(loop, monkeypatch):
    monkeypatch.setattr("tuning.loops.energy_windows.LEAST_SECONDS", 0.0)
    lamp = Lamp()
    session = TrainingSession(dense_model, make_data(), energy=lambda: lamp)
    first = session.train(make_trial(10, epochs=3, loop=loop), lambda report: True)
    assert first.status is Status.COMPLETED, first.reason
    assert lamp.read == 2 + 2 * 3  # the idle power, and both ends of every epoch
    assert first.energy_joules == pytest.approx(first.mean_watts * first.seconds)
    assert first.joules_per_example == pytest.approx(first.energy_joules / 150)
    assert (first.measurements["power_limit_watts"], first.settings["throttled_by"]) == (60.0, "power limit")
    second = session.train(make_trial(10, epochs=3, loop=loop, seed=1), lambda report: True)
    assert lamp.read == 2 + 4 * 3
    assert second.measurements["idle_watts"] == first.measurements["idle_watts"] > 0


def test_a_trial_without_a_meter_says_why_it_tells_no_energy():
    session = TrainingSession(dense_model, make_data(), energy=lambda: NoMeter("there is no counter"))
    outcome = session.train(make_trial(10), lambda report: True)
    assert (outcome.energy_joules, outcome.energy_note) == (None, "there is no counter")
    assert "idle_watts" not in outcome.measurements


def test_a_fit_of_the_user_s_that_is_driven_tells_its_energy_and_a_loop_of_its_own_why_not(monkeypatch):
    monkeypatch.setattr("tuning.loops.energy_windows.LEAST_SECONDS", 0.0)

    class Driven(keras_tuner.HyperModel):
        def build(self, hp):
            return dense_model()

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, **kwargs)

    class Own(Driven):
        def fit(self, hp, model, *args, **kwargs):
            return 0.5

    told = [
        TrainingSession(kind(), make_data(), energy=Lamp).train(make_trial(10, epochs=3), lambda report: True)
        for kind in (Driven, Own)
    ]
    assert [outcome.energy_joules is None for outcome in told] == [False, True]
    assert told[1].energy_note.startswith("HyperModel.fit trains by a loop of its own")
