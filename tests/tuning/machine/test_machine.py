"""What is known of a machine comes back from the study as it was, and says what stands for what is not known."""

from __future__ import annotations

import json
import math
import statistics

import pytest

from tuning.machine.machine import Machine
from tuning.machine.memory import MemoryFindings
from tuning.machine.memory_ladder import Tried
from tuning.machine.noise import GUESSED_NOISE_SCALE, GradientNoise
from tuning.machine.threads import ThreadChoice
from tuning.machine.throughput import Measured, ThroughputFindings
from tuning.messages import Throughput
from tuning.noise_messages import NoiseScalePoint
from tuning.run.memory_limit import MemoryLimit
from tuning.stats.target import Timings
from tuning.trial import Status


def findings(keras: float, chosen: float | None = None) -> ThroughputFindings:
    rows = [Measured("keras", Throughput("t", 8, "keras", keras, 0.1))]
    rows += [] if chosen is None else [Measured("chosen", Throughput("t", 8, "device", chosen))]
    return ThroughputFindings(tuple(rows), {"keras 16": "too slow"})


def point(value: float | None, low: float | None = None) -> NoiseScalePoint:
    return NoiseScalePoint(0, value, low, value, 1.0, 1.0)


def test_everything_comes_back_from_json() -> None:
    lost = Tried(64, fits=False, reason="too large", status=Status.OUT_OF_MEMORY)
    machine = Machine(
        memory_is_known=True,
        memory=MemoryFindings((Tried(8, fits=True, peak_bytes=10), lost), MemoryLimit(20, "test"), 0.1, 100, "keras"),
        throughput=findings(1.0, 0.5),
        throughput_again=findings(0.9),
        user_series="keras",
        seconds_to_start=1.5,
        threads=ThreadChoice({4: (0.1, 0.2)}),
        noise=GradientNoise((point(50.0, 40.0), point(None, 30.0)), "why"),
    )
    assert Machine.from_json(json.loads(json.dumps(machine.to_json()))) == machine


def test_of_a_new_study_nothing_is_known() -> None:
    assert Machine.from_json({}) == Machine()
    assert Machine().user is None
    assert Machine().largest_batch_size is None


def test_the_user_trains_with_the_series_that_was_settled_and_trials_with_the_chosen_loop() -> None:
    machine = Machine(throughput=findings(1.0, 0.5), user_series="keras")
    assert machine.user == Timings({8: 1.0})
    assert machine.trials == Timings({8: 0.5})


def test_the_lesser_of_two_timings_judges_but_does_not_plan() -> None:
    machine = Machine(throughput=findings(1.0, 0.5), throughput_again=findings(0.9), user_series="keras")
    assert machine.user == Timings({8: 1.0})
    assert machine.user_least == Timings({8: 0.9})
    slower = Machine(throughput=findings(1.0, 0.5), throughput_again=findings(2.0), user_series="keras")
    assert slower.user_least == Timings({8: 1.0})


@pytest.mark.parametrize(
    ("noise", "critical"),
    [
        (GradientNoise((point(77.0, 60.0),)), 77.0),
        (GradientNoise(), GUESSED_NOISE_SCALE),
        (GradientNoise((point(None, 1000.0),)), 1000.0),
        (GradientNoise((point(None, 3.0),)), GUESSED_NOISE_SCALE),
        (GradientNoise((point(90.0, 60.0), point(None, 3.0))), 90.0),
    ],
)
def test_an_unknown_noise_scale_is_guessed_but_not_below_its_bound(noise: GradientNoise, critical: float) -> None:
    assert noise.critical_batch_size == pytest.approx(critical)


def test_two_timings_tell_how_well_they_agree_but_for_what_slowed_all_alike() -> None:
    first, again = (
        ThroughputFindings(tuple(Measured("keras", Throughput("t", b, "keras", s)) for b, s in seconds.items()), {})
        for seconds in ({8: 1.0, 16: 9.0, 32: 2.0}, {8: 2.0, 16: 22.0, 32: 4.0 / 1.1})
    )
    machine = Machine(throughput=first, throughput_again=again, user_series="keras")
    smoothed = Timings({8: 1.0, 16: 9.0, 32: 2.0})  # a larger batch takes no less time
    changes = [math.log(smoothed.seconds(b) / s) for b, s in ((8, 2.0), (16, 22.0), (32, 4.0 / 1.1))]
    assert machine.user_errors == pytest.approx(dict.fromkeys((8, 16, 32), statistics.stdev(changes) / math.sqrt(2)))
    assert Machine(throughput=first, user_series="keras").user_errors == {}
