"""The outbox keeps the order within each run, and lets no run and no store hold up the others."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from tuning.record.outbox import MOST_FAILURES, Outbox, Reaction


class Store:
    """Takes texts while it is there; refuses "bad", never manages "heavy", lets nobody in who has no token."""

    def __init__(self) -> None:
        self.there, self.lets_in = True, True
        self.attempts: Counter[str] = Counter()
        self.received: list[str] = []

    def take(self, text: str) -> None:
        self.attempts[text] += 1
        if not self.there or "heavy" in text:
            raise ConnectionError("gone")
        if not self.lets_in:
            raise PermissionError("token")
        if "bad" in text:
            raise ValueError("bad")
        self.received.append(text)


class Writer:
    """Writes texts one by one."""

    def __init__(self, store: Store, name: str, *texts: str) -> None:
        self.name, self.texts, self.abandoned = name, list(texts), ""
        self._store = store

    def write_next(self) -> bool:
        if self.texts:
            self._store.take(f"{self.name}{self.texts[0]}")
            self.texts.pop(0)
        return bool(self.texts)

    def abandon(self, reason: str) -> None:
        self.abandoned = reason


def react(error: Exception) -> Reaction:
    if isinstance(error, ConnectionError):
        return Reaction.WAIT
    return Reaction.DENIED if isinstance(error, PermissionError) else Reaction.REFUSED


def make() -> tuple[Store, Outbox]:
    return Store(), Outbox(react, first_pause_s=2, longest_pause_s=8)


def work(outbox: Outbox, now: float = 0.0, until: float = math.inf) -> float:
    """Let it write as long as it does not have to wait beyond a moment; return the moment at which it stopped."""
    for _ in range(1000):
        wait_s = outbox.step(now)
        if now + wait_s > until or math.isinf(wait_s):
            return now
        now += wait_s
    raise AssertionError("It never came to an end.")


def test_what_is_owed_is_written_run_after_run() -> None:
    store, outbox = make()
    outbox.owe(Writer(store, "a", "1", "2"))
    outbox.owe(Writer(store, "b", "1"))
    assert (outbox.owed(), len(outbox)) == (["a", "b"], 2)
    work(outbox)
    assert store.received == ["a1", "a2", "b1"]
    assert (outbox.owed(), len(outbox)) == ([], 0)


def test_what_could_not_be_written_is_written_later_in_the_order_of_its_run() -> None:
    store, outbox = make()
    first, second = Writer(store, "a", "1", "2"), Writer(store, "b", "1", "2")
    for writer in (first, second):
        outbox.owe(writer)
    store.there = False
    assert outbox.step(0) == 2
    assert outbox.trouble is not None
    first.texts.append("3")
    outbox.owe(first)
    store.there = True
    work(outbox, now=2)
    assert [text for text in store.received if text[0] == "a"] == ["a1", "a2", "a3"]
    assert [text for text in store.received if text[0] == "b"] == ["b1", "b2"]
    assert outbox.trouble is None


def test_a_store_that_is_gone_is_left_alone_for_growing_pauses() -> None:
    store, outbox = make()
    store.there = False
    outbox.owe(Writer(store, "a", "1"))
    tried_at = []
    for second in range(40):
        if outbox.step(second) and store.attempts.total() > len(tried_at):
            tried_at.append(second)
    assert tried_at == [0, 2, 6, 14, 22, 30, 38]


def test_pauses_start_short_again_once_the_store_has_answered() -> None:
    store, outbox = make()
    for start in (0.0, 100.0):
        store.there = False
        outbox.owe(Writer(store, "a", "1"))
        assert outbox.step(start) == 2
        store.there = True
        work(outbox, now=start + 2)
    assert store.received == ["a1", "a1"]


def test_hurrying_waits_for_no_pause_and_for_nothing_that_is_due_later() -> None:
    store, outbox = make()
    store.there = False
    outbox.owe(Writer(store, "a", "1"))
    outbox.owe(Writer(store, "b", "1"), due=50)
    outbox.step(0)
    store.there = True
    assert outbox.step(1) == 1
    outbox.hurry()
    work(outbox, now=1, until=1)
    assert sorted(store.received) == ["a1", "b1"]


def test_what_is_due_later_waits_until_then_unless_it_becomes_due_at_once() -> None:
    store, outbox = make()
    later, sooner = Writer(store, "a", "1"), Writer(store, "b", "1")
    for writer in (later, sooner):
        outbox.owe(writer, due=5)
    assert outbox.step(1) == 4
    outbox.owe(sooner)
    outbox.owe(sooner, due=9)
    work(outbox, now=1, until=4)
    assert store.received == ["b1"]
    work(outbox, now=5)
    assert store.received == ["b1", "a1"]


def test_a_refused_piece_stops_its_run_alone_and_is_kept_with_its_reason() -> None:
    store, outbox = make()
    poisoned = Writer(store, "a", "1", "bad", "3")
    outbox.owe(poisoned)
    outbox.owe(Writer(store, "b", "1"))
    work(outbox)
    assert store.received == ["a1", "b1"]
    assert {name: str(error) for name, error in outbox.refused.items()} == {"a": "bad"}
    assert poisoned.abandoned == "bad"
    outbox.owe(poisoned)
    assert outbox.owed() == []


def test_a_run_that_cannot_be_abandoned_holds_nothing_up() -> None:
    store, outbox = make()
    poisoned = Writer(store, "a", "bad")
    poisoned.abandon = lambda reason: store.take("heavy")
    outbox.owe(poisoned)
    outbox.owe(Writer(store, "b", "1"))
    work(outbox)
    assert (store.received, list(outbox.refused)) == (["b1"], ["a"])


def test_a_run_that_fails_again_and_again_while_others_are_taken_is_given_up() -> None:
    store, outbox = make()
    outbox.owe(Writer(store, "a", "heavy"))
    now = 0.0
    for number in range(20):
        outbox.owe(Writer(store, f"b{number}", "1"))
        now = work(outbox, now, until=now + 1) + 10
    assert len(store.received) == 20
    assert list(outbox.refused) == ["a"]
    assert store.attempts["aheavy"] == MOST_FAILURES + 1


def test_a_run_that_fails_while_nothing_is_taken_is_not_given_up() -> None:
    store, outbox = make()
    store.there = False
    for name in "ab":
        outbox.owe(Writer(store, name, "1"))
    work(outbox, until=500)
    assert (sorted(outbox.owed()), outbox.refused) == (["a", "b"], {})


def test_an_expired_token_is_waited_for() -> None:
    store, outbox = make()
    store.lets_in = False
    outbox.owe(Writer(store, "a", "1"))
    work(outbox, until=100)
    assert outbox.trouble is not None
    assert outbox.trouble[0] is Reaction.DENIED
    assert outbox.refused == {}
    store.lets_in = True
    work(outbox, now=200)
    assert store.received == ["a1"]


@pytest.mark.parametrize("text", ["1", "bad"])
def test_a_run_that_begins_anew_replaces_what_was_owed_or_refused_of_it(text: str) -> None:
    store, outbox = make()
    outbox.owe(Writer(store, "a", text))
    if text == "bad":
        work(outbox)
    outbox.begin_anew("a")
    outbox.owe(Writer(store, "a", "2"))
    work(outbox)
    assert (store.received, outbox.refused) == (["a2"], {})


def test_a_run_that_begins_anew_while_the_old_one_is_being_written_is_not_replaced_by_it() -> None:
    store, outbox = make()
    new = Writer(store, "a", "new")

    class Old(Writer):
        def write_next(self) -> bool:
            outbox.begin_anew("a")
            outbox.owe(new)
            return True

    outbox.owe(Old(store, "a"))
    work(outbox)
    assert store.received == ["anew"]


def test_what_is_added_to_a_run_while_it_is_being_written_is_not_forgotten() -> None:
    store, outbox = make()

    class Growing(Writer):
        def write_next(self) -> bool:
            more = super().write_next()
            if len(store.received) == 1:
                self.texts.append("2")
                outbox.owe(self)
            return more

    outbox.owe(Growing(store, "a", "1"))
    work(outbox)
    assert store.received == ["a1", "a2"]
