from __future__ import annotations

from collections.abc import Callable

from tuning.record.outbox import Outbox


class Store:
    """Takes writes while it is there; refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.there = True
        self.attempts = 0
        self.received: list[str] = []

    def write(self, text: str) -> Callable[[], None]:
        def attempt() -> None:
            self.attempts += 1
            if not self.there:
                raise ConnectionError("gone")
            if text == "bad":
                raise ValueError("bad")
            self.received.append(text)

        return attempt


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make() -> tuple[Store, Clock, Outbox]:
    store, clock = Store(), Clock()
    outbox = Outbox(lambda error: isinstance(error, ConnectionError), first_pause_s=2, longest_pause_s=8, clock=clock)
    return store, clock, outbox


def test_writes_are_made_at_once_while_the_store_answers() -> None:
    store, _, outbox = make()
    assert outbox.send(store.write("a"))
    assert store.received == ["a"]


def test_what_could_not_be_written_is_written_later_in_order() -> None:
    store, clock, outbox = make()
    store.there = False
    assert not outbox.send(store.write("a"))
    outbox.send(store.write("b"))
    store.there, clock.now = True, 2.0
    assert outbox.send(store.write("c"))
    assert store.received == ["a", "b", "c"]


def test_a_store_that_is_gone_is_left_alone_for_growing_pauses() -> None:
    store, clock, outbox = make()
    store.there = False
    tried_at = []
    for second in range(40):
        clock.now = float(second)
        before = store.attempts
        outbox.send(store.write(str(second)))
        if store.attempts > before:
            tried_at.append(second)
    assert tried_at == [0, 2, 6, 14, 22, 30, 38]
    assert len(outbox) == 40


def test_pauses_start_short_again_once_the_store_has_answered() -> None:
    store, clock, outbox = make()
    for start in (0.0, 100.0):
        store.there, clock.now = False, start
        outbox.send(store.write("a"))
        store.there, clock.now = True, start + 2
        assert outbox.send(store.write("b"))


def test_a_final_flush_does_not_wait_for_the_pause_to_end() -> None:
    store, _, outbox = make()
    store.there = False
    outbox.send(store.write("a"))
    store.there = True
    assert outbox.flush()
    assert store.received == ["a"]


def test_a_write_refused_for_good_does_not_hold_up_the_others() -> None:
    store, _, outbox = make()
    assert outbox.send(store.write("bad"))
    assert outbox.send(store.write("good"))
    assert store.received == ["good"]
    assert [str(error) for error in outbox.refused] == ["bad"]


def test_an_interrupted_write_is_made_again() -> None:
    store, _, outbox = make()
    interruptions = [KeyboardInterrupt()]

    def write() -> None:
        if interruptions:
            raise interruptions.pop()
        store.received.append("a")

    try:
        outbox.send(write)
    except KeyboardInterrupt:
        outbox.flush()
    assert store.received == ["a"]
