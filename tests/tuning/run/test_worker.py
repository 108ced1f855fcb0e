"""What a worker makes of messages that come while it trains."""

from __future__ import annotations

from multiprocessing import Pipe

import pytest

from tuning.trial import EpochReport
from tuning.worker import STOP, _reporter

EPOCH = EpochReport("t", 1, 100, 10, {}, 0.0)


@pytest.mark.parametrize("messages", [[(STOP, "t")], [(STOP, "t"), (STOP, "t")], [(STOP, "old"), (STOP, "t")]])
def test_a_trial_stops_however_often_it_is_asked(messages: list[tuple[str, str]]) -> None:
    ours, theirs = Pipe()
    for message in messages:
        ours.send(message)
    assert not _reporter(theirs, "t")(EPOCH)
    assert not theirs.poll()


def test_a_stop_for_an_earlier_trial_is_ignored() -> None:
    ours, theirs = Pipe()
    ours.send((STOP, "old"))
    assert _reporter(theirs, "t")(EPOCH)
    assert ours.recv() == EPOCH
