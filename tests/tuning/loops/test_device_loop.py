"""The device loop: blocks of updates, epoch after epoch."""

import numpy as np
import pytest
from training_helpers import dense_model, make_data, make_trial

from tuning.loops import blocks
from tuning.loops.arrays import DataPlacement, as_keras_sees_them
from tuning.loops.blocks import BlockShape, block_shape, seconds_per_update
from tuning.loops.callbacks import TrainingClock
from tuning.loops.device_loop import BlockSteps, DeviceLoop, XlaLoop
from tuning.loops.order import ExampleOrder
from tuning.loops.session import TrainingSession
from tuning.trial import Status


class FakeBlock:
    """Takes down the rows that it is given to train on."""

    def __init__(self, length):
        self.length = length
        self.trained = []

    def __call__(self, rows, updates):
        assert len(rows) == self.length
        self.trained.append(rows[:updates].tolist())
        return len(self.trained)

    def padded(self, rows):
        return np.pad(rows, ((0, self.length - len(rows)), (0, 0)))


class FakeClock:
    def __init__(self):
        self.ended, self.updates = [], []

    def run(self, execution, updates):
        self.updates.append(updates)
        return execution()

    def next_batch(self, batch, logs):
        return True

    def end_epoch(self, logs):
        self.ended.append((len(self.updates), logs))


@pytest.mark.parametrize(("blocks_per_epoch", "length"), [(1, 3), (2, 2), (3, 1)])
def test_the_blocks_of_an_epoch_train_its_rows_in_order_and_skip_an_empty_last_one(blocks_per_epoch, length):
    order, block, clock = ExampleOrder(10, 4, seed=3), FakeBlock(length), FakeClock()
    steps = BlockSteps(block, block, blocks_per_epoch, order, clock)
    logs = [[steps() for _ in range(blocks_per_epoch)] for _ in range(4)]
    trained = [row for rows in block.trained for row in rows]
    assert trained == [row for epoch in range(4) for row in order.rows(epoch).tolist()]
    assert sum(clock.updates) == order.updates_after(4)
    assert 0 not in clock.updates
    assert [last for _, last in clock.ended] == [each[-1] for each in logs]


def test_drawing_the_rows_of_an_epoch_belongs_to_its_seconds():
    seconds = [0.0]

    class SlowOrder(ExampleOrder):
        def rows(self, epoch):
            seconds[0] += 0.5
            return super().rows(epoch)

    class SlowBlock(FakeBlock):
        def __call__(self, rows, updates):
            seconds[0] += 1.0
            return super().__call__(rows, updates)

    clock, block = TrainingClock(counts_gaps=False, now=lambda: seconds[0]), SlowBlock(2)
    clock.expect_no_compiling()
    steps = BlockSteps(block, block, 2, SlowOrder(12, 3, seed=3), clock)
    for _ in range(6):
        steps()
    assert clock.seconds == seconds[0] == 3 * (2 * 1.0 + 0.5)


@pytest.mark.parametrize(("updates", "expected"), [(1, (1, 1)), (1024, (1, 1024)), (1025, (2, 513)), (2500, (3, 834))])
def test_an_epoch_is_cut_into_equal_blocks_of_at_most_1024_updates(updates, expected):
    assert block_shape(ExampleOrder(updates, 1, seed=0)) == BlockShape(*expected)


def test_epochs_of_several_blocks_train_as_one_of_one_block(monkeypatch):
    histories = []
    for most in (1024, 4):
        monkeypatch.setattr(blocks, "_UPDATES_PER_BLOCK", most)
        reports = []
        outcome = TrainingSession(dense_model, make_data()).train(
            make_trial(7, loop="device"), lambda report, to=reports: to.append(report) or True
        )
        assert outcome.status is Status.COMPLETED, outcome.log_tail
        assert outcome.settings["steps_per_execution"] == min(most, 8)
        histories.append([report.metrics for report in reports])
    assert histories[0] == histories[1]


def test_the_two_block_loops_differ_in_who_compiles():
    assert (DeviceLoop().name, DeviceLoop().jit_compile) == ("device", False)
    assert (XlaLoop().name, XlaLoop().jit_compile) == ("xla", True)


def test_data_too_large_are_refused_with_their_size():
    arrays = as_keras_sees_them(make_data(), None)
    assert DeviceLoop().can_train(dense_model(), DataPlacement(arrays), ()) == ""
    refused = DeviceLoop().can_train(dense_model(), DataPlacement(arrays, share_for_data=1e-12), ())
    assert refused == f"{arrays.nbytes} bytes of data are too many beside a model"


def test_an_update_is_timed_by_the_least_of_three_chunks_within_2_percent_of_the_trial():
    ran = []

    def timed(updates_of_trial, longest, durations):
        ran.clear()
        times = iter([moment for end in durations for moment in (0.0, end)])
        return seconds_per_update(ran.append, updates_of_trial, longest, now=lambda: next(times))

    assert timed(100, 50, [0.01]) == 0.01
    assert ran == [1, 1]
    assert timed(3000, 50, [0.01, 1.0, 0.5, 2.0]) == pytest.approx(0.05)
    assert ran == [1, 1, 10, 10, 10]  # a tenth of a second
    assert timed(3000, 6, [0.01, 0.6, 0.3, 1.2]) == pytest.approx(0.05)
    assert ran[2:] == [6, 6, 6]
    assert timed(600, 50, [0.001, 4.0, 8.0, 4.0]) == pytest.approx(1.0)
    assert ran[2:] == [4, 4, 4]
