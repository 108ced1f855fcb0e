"""A study in a shared storage has one driver at a time, and is taken over from one that is silent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, RDBStorage

from tuning.study.claim import Claim, claimed, refuse_if_run
from tuning.study.lease import GRACE_S, Holder, Lease, LostLeaseError, refuse_if_renewed
from tuning.study.storage import StudyError

FAR = Holder("another", "far", process=1, place="another machine", began=1, since="yesterday")


class Time:
    """A clock that moves when somebody sleeps, and does something at certain times."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.events: dict[float, Callable[[], None]] = {}

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        for at in [at for at in self.events if at <= self.now_s]:
            self.events.pop(at)()


@pytest.fixture
def storage(tmp_path: Path) -> BaseStorage:
    made = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    made.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "s")
    return made


@pytest.fixture
def time() -> Time:
    return Time()


def lease(storage: BaseStorage, time: Time) -> Lease:
    return Lease(storage, clock=time.clock, sleep=time.sleep)


def write(storage: BaseStorage, holder: Holder) -> None:
    storage.set_study_user_attr(1, "lease", asdict(holder))


def held(storage: BaseStorage) -> Holder:
    return Holder(**storage.get_study_user_attrs(1)["lease"])


def test_a_free_study_is_taken_and_given_back(storage: BaseStorage, time: Time) -> None:
    first = lease(storage, time)
    first.take(1)
    assert held(storage).process == Holder.this_process().process
    first.check()
    first.give_back()
    before = time.now_s
    lease(storage, time).take(1)
    assert time.now_s - before < GRACE_S  # nobody was waited for


def test_a_lease_that_is_renewed_is_refused_with_who_holds_it(storage: BaseStorage, time: Time) -> None:
    write(storage, FAR)
    time.events[time.now_s + 4] = lambda: write(storage, replace(FAR, renewals=1))
    with pytest.raises(StudyError, match=r"is run by process 1 on far since yesterday\. Wait for it or stop it"):
        lease(storage, time).take(1)
    assert held(storage).token == "another"


def test_a_lease_that_stays_silent_is_taken_over(storage: BaseStorage, time: Time) -> None:
    write(storage, FAR)
    before = time.now_s
    lease(storage, time).take(1)
    assert time.now_s - before >= GRACE_S
    assert held(storage).token != "another"


def test_nobody_waits_for_a_process_of_this_machine_that_has_ended(storage: BaseStorage, time: Time) -> None:
    code = "import sys; from tuning.study.lease import Holder; h = Holder.this_process(); print(h.process, h.began)"
    process, began = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.split()
    write(storage, replace(Holder.this_process(), token="another", process=int(process), began=int(began)))
    before = time.now_s
    lease(storage, time).take(1)
    assert time.now_s - before < GRACE_S


def test_a_process_that_has_the_number_of_one_that_has_ended_is_another() -> None:
    this = Holder.this_process()
    assert not this.has_ended
    assert replace(this, began=this.began - 1).has_ended
    assert not replace(this, began=this.began - 1, place="another machine").has_ended


def test_of_two_that_take_at_once_one_has_it(storage: BaseStorage, time: Time) -> None:
    first = lease(storage, time)
    time.events[time.now_s + 0.1] = lambda: write(storage, FAR)  # both had found it free
    with pytest.raises(StudyError, match="is run by process 1 on far"):
        first.take(1)
    first.check()  # holds nothing, so has nothing to lose


def test_a_driver_that_was_away_for_long_looks_before_it_writes(storage: BaseStorage, time: Time) -> None:
    first = lease(storage, time)
    first.take(1)
    write(storage, FAR)
    first.check()  # it has just renewed its lease, so that nobody can have taken over
    time.sleep(GRACE_S)
    with pytest.raises(LostLeaseError, match="taken the study over: process 1 on far"):
        first.check()
    first.give_back()
    assert held(storage).token == "another"  # what is another's is not given back


def test_a_driver_that_was_away_but_not_missed_goes_on(storage: BaseStorage, time: Time) -> None:
    first = lease(storage, time)
    first.take(1)
    before = held(storage).renewals
    time.sleep(GRACE_S)
    first.check()
    assert held(storage).renewals == before + 1


def test_a_lease_is_renewed_while_its_driver_lives(
    storage: BaseStorage, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.study.lease._RENEWAL_S", 0.01)
    first = lease(storage, time)
    first.take(1)
    while held(storage).renewals < 3:  # the test's own time limit ends it otherwise
        pass
    first.give_back()


def test_one_storage_is_claimed_from_one_directory_at_a_time(tmp_path: Path, storage: BaseStorage) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with claimed(tmp_path / "a", url) as first:
        first.take("s")
        second = Claim(storage)
        write(storage, replace(held(storage), place="another machine"))
        alive = replace(held(storage), renewals=99)
        second._lease = Lease(storage, sleep=lambda _: write(storage, alive))
        with pytest.raises(StudyError, match="one process at a time"):
            second.take("s")


def test_what_does_not_exist_needs_no_lease(storage: BaseStorage) -> None:
    claim = Claim(storage)
    claim.take("new")
    claim.check()
    claim.close()


def test_a_look_refuses_a_study_whose_lease_is_renewed_and_no_other(storage: BaseStorage, time: Time) -> None:
    refuse_if_renewed(storage, 1, sleep=time.sleep)
    assert time.now_s == 1000.0
    write(storage, FAR)
    refuse_if_renewed(storage, 1, sleep=time.sleep)  # silent: who takes the lease waits longer
    time.events[time.now_s + 4.0] = lambda: write(storage, replace(FAR, renewals=1))
    with pytest.raises(StudyError, match="is run by process 1 on far since yesterday"):
        refuse_if_renewed(storage, 1, sleep=time.sleep)
    assert held(storage).renewals == 1


def test_a_look_refuses_a_directory_that_is_locked_and_leaves_nothing(tmp_path: Path) -> None:
    refuse_if_run(tmp_path / "s", None, "s")
    assert not (tmp_path / "s").exists()
    with claimed(tmp_path / "s"), pytest.raises(StudyError, match=r"s is run by process \d+ on"):
        refuse_if_run(tmp_path / "s", None, "s")
    refuse_if_run(tmp_path / "s", f"sqlite:///{tmp_path / 'study.db'}", "s")
