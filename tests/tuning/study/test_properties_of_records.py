"""What holds of every trial that is written down, and of every journal wherever it is cut."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as some

from search_spaces import Setting
from search_spaces.space import as_pairs
from tuning.instructions import Budget, Goal
from tuning.objective import Objective
from tuning.study.encoding import CLOSING, OPENING, closing_of, opening_of, read_trial
from tuning.study.journal import mend
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

words = some.text(alphabet="abß {}\"'\\\n\u2028", max_size=8)
numbers = some.floats(allow_nan=False)  # infinities, too; NaN equals nothing
maybe = some.none() | numbers
own_values = some.integers(-9, 9) | some.floats(-1, 1) | some.booleans() | words


def outcomes(trial_id: str) -> some.SearchStrategy[TrialOutcome]:
    return some.builds(
        TrialOutcome,
        trial_id=some.just(trial_id),
        status=some.sampled_from([status for status in Status if status is not Status.COMPLETED]),
        reason=words,
        log_tail=words,
        seconds=maybe,
        examples_per_second=maybe,
        peak_memory_bytes=some.none() | some.integers(0, 2**60),
        loop=some.sampled_from(["", "keras", "device"]),
        measurements=some.dictionaries(words, numbers, max_size=2),
        settings=some.dictionaries(words, own_values, max_size=2),
        exit_code=some.none() | some.integers(-64, 255),
        energy_joules=maybe,
    )


def in_order(measured: list[tuple[int, dict[str, float], float]]) -> tuple[EpochReport, ...]:
    """Reports of one epoch after the other, from each one's examples, metrics and seconds."""
    return tuple(
        EpochReport("0007", epoch, sum(each[0] for each in measured[:epoch]), epoch, metrics, seconds)
        for epoch, (_, metrics, seconds) in enumerate(measured, start=1)
    )


epochs = some.tuples(some.integers(1, 10**9), some.dictionaries(words, numbers, max_size=3), numbers)
settings = some.builds(
    Setting,
    batch_size=some.integers(1, 10**6),
    learning_rate=some.none() | some.floats(1e-12, 1e3),
    hyperparameters=some.dictionaries(words, own_values, max_size=3).map(as_pairs),
)
goals = some.builds(
    Goal,
    objective=some.builds(Objective, name=some.just("val_loss"), direction=some.sampled_from(["min", "max"])),
    value=some.floats(-1e9, 1e9),
    least_epochs=some.integers(1, 3),
)
trials = some.builds(
    Trial,
    setting=settings,
    seed=some.integers(0, 2**32),
    stage=some.sampled_from(["search", "confirm"]),
    budget=some.builds(Budget, epochs=some.integers(3, 99), goal=some.none() | goals),
    trial_id=some.just("0007"),
    reports=some.lists(epochs, max_size=3).map(in_order),
    outcome=outcomes("0007"),
    score=some.none(),
)


@given(trial=trials)
def test_a_trial_travels_through_json_and_back(trial: Trial) -> None:
    attributes = {OPENING: opening_of(trial), CLOSING: closing_of(trial)}
    text = json.dumps(attributes, allow_nan=False)  # as databases and other programs read it
    assert read_trial(json.loads(text), has_ended=True) == trial


@given(trial=trials)
def test_a_trial_that_never_ended_is_interrupted(trial: Trial) -> None:
    found = read_trial(json.loads(json.dumps({OPENING: opening_of(trial)})), has_ended=True)
    assert found is not None
    assert (found.key, found.status, found.reports) == (trial.key, Status.INTERRUPTED, ())


records = some.dictionaries(words, own_values | some.none() | some.lists(words, max_size=2), max_size=4).map(
    lambda facts: json.dumps({"op_code": 8, **facts}).encode() + b"\n"
)
journals = some.lists(records, min_size=1, max_size=5).map(b"".join)


def mended(content: bytes, again: bytes = b"") -> tuple[bytes, bool]:
    """What a journal holds after it was mended, and whether it was; with a record that is written after that."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "study.journal")
        path.write_bytes(content)
        was = mend(path)
        with path.open("ab") as journal:
            journal.write(again)
        assert not mend(path)
        assert was == (Path(folder, "study.journal.torn").exists())
        return path.read_bytes(), was


@given(journal=journals, data=some.data())
def test_a_journal_that_is_cut_at_any_byte_keeps_its_whole_records_and_takes_new_ones(
    journal: bytes, data: some.DataObject
) -> None:
    ends = [at for at, byte in enumerate(journal) if byte == ord("\n")]
    cut = data.draw(some.integers(0, len(journal)) | some.sampled_from(ends))  # also just before a record's last byte
    new = data.draw(records)
    found, was_torn = mended(journal[:cut], new)
    kept = found.removesuffix(new)
    assert journal.startswith(kept)
    assert kept.endswith(b"\n") or not kept
    assert len(journal[:cut]) - len(kept) < max(map(len, journal.splitlines(keepends=True)))
    assert journal[: len(kept)].count(b"\n") in (journal[:cut].count(b"\n"), journal[:cut].count(b"\n") + 1)
    assert was_torn == (not journal[:cut].endswith(b"\n") and cut > 0)


@given(journal=journals, torn=records, new=records, data=some.data())
def test_a_record_that_was_glued_to_a_torn_one_is_kept(
    journal: bytes, torn: bytes, new: bytes, data: some.DataObject
) -> None:
    cut = data.draw(some.integers(1, len(torn) - 2))
    assert mended(journal + torn[:cut] + new)[0] == journal + new
