"""Records know what runs, what has settled and what runs again, without walking through everything."""

from __future__ import annotations

from dataclasses import replace

from study_helpers import add, ended, records_of

from search_spaces.space import Setting
from tuning.study.records import ChangeReader
from tuning.trial import MOST_LOSSES, Status, Trial

TRIAL = Trial(Setting(8, 0.1), 0)
OTHER = Trial(Setting(16, 0.1), 0)


def test_counts_follow_every_change() -> None:
    records = records_of()
    running = add(records, TRIAL)
    assert (records.n_settled, records.n_running, records.n_scored) == (1, 1, 0)
    records.put(ended(running, score=0.3))
    assert (records.n_settled, records.n_running, records.n_scored) == (1, 0, 1)
    records.put(ended(add(records, OTHER), Status.FAILED))
    assert (records.n_settled, records.n_running, records.n_scored) == (2, 0, 1)
    records.put(ended(add(records, replace(OTHER, seed=1)), Status.INTERRUPTED))
    assert (records.n_settled, records.n_running, len(records)) == (2, 0, 3)


def test_the_same_training_is_known_by_setting_seed_and_stage() -> None:
    records = records_of([ended(TRIAL)])
    assert records.has(TRIAL)
    assert not records.has(replace(TRIAL, seed=1))
    assert not records.has(replace(TRIAL, stage="confirm"))
    assert not records.has(OTHER)


def test_an_interrupted_trial_runs_again_until_somebody_has_run_it() -> None:
    records = records_of([ended(TRIAL, Status.INTERRUPTED), ended(OTHER, Status.LOST)])
    assert not records.has(TRIAL)
    first = records.interrupted_to_rerun()
    assert first is not None
    assert first.key == TRIAL.key
    running = add(records, TRIAL)
    second = records.interrupted_to_rerun()
    assert second is not None
    assert second.key == OTHER.key
    records.put(ended(running, Status.INTERRUPTED))
    again = records.interrupted_to_rerun()
    assert again is not None
    records.put(ended(add(records, OTHER), Status.FAILED))
    records.put(ended(add(records, TRIAL)))
    assert records.interrupted_to_rerun() is None


def test_losses_are_counted_by_training() -> None:
    records = records_of(
        [ended(TRIAL, Status.LOST)] * 2 + [ended(OTHER, Status.LOST), ended(TRIAL, Status.INTERRUPTED)]
    )
    assert records.losses(TRIAL) == 2
    assert records.losses(OTHER) == 1
    assert MOST_LOSSES == 3


def test_a_reader_gets_each_change_once_and_as_it_is_now() -> None:
    reader, records = ChangeReader(), records_of()
    running = add(records, TRIAL)
    done = ended(running)
    records.put(done)
    assert list(reader.new(records)) == [done]
    assert list(reader.new(records)) == []
    other = add(records, OTHER)
    assert list(reader.new(records)) == [other]
