"""A journal that was torn is mended, and a study cut anywhere goes on to the same end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import RecordingTracker, ScriptedExecutor, SilentDisplay

from search_spaces import BatchSize, LearningRate, SearchSpace
from tuning.objective import Objective
from tuning.plans.bayes import BayesianBudget, BayesianPlan
from tuning.plans.halving import Halving
from tuning.plans.plan import GridPlan, Plan
from tuning.plans.samplers import make_sampler
from tuning.search.loop import SearchLoop
from tuning.study.journal import mend
from tuning.study.storage import create_study, journal_of
from tuning.study.study import Study
from tuning.trial import Budget, Status, Trial

OBJECTIVE = Objective("val_accuracy")
SPACE = SearchSpace(BatchSize.of(8, 32), LearningRate(), optimizer="Adam", model_rate=0.001)
WHOLE = b'{"op_code": 0, "a": 1}\n{"op_code": 4, "b": "x"}\n'


class Plain:
    """Leaves trials as they are."""

    def instruct(self, trial: Trial) -> Trial:
        return trial

    def measure(self, wish: object) -> None:
        raise AssertionError(wish)

    def trial_ended(self, trial: Trial) -> None:
        pass


def grid() -> Plan:
    return GridPlan(SPACE, 2, budget=Budget(2))


def bayes() -> Plan:
    return BayesianPlan(
        SPACE,
        budget=BayesianBudget(2, 2, Budget(2)),
        objective=OBJECTIVE,
        make_sampler=lambda encoding, is_acceptable: make_sampler(
            "random", encoding, is_acceptable, budget=2, objective=OBJECTIVE, seed=1
        ),
    )


def search(directory: Path, plan: Plan) -> Study:
    directory.mkdir(exist_ok=True)
    storage = journal_of(directory)
    create_study(storage, "study", objective=OBJECTIVE, settings={"a": "1"})
    study = Study("study")
    study.open(storage, OBJECTIVE)
    executor = ScriptedExecutor(lambda trial: [0.4, 0.5 + trial.seed / 10])
    halving = Halving(OBJECTIVE, n_train=100, stops=False)
    SearchLoop(study, plan, executor, RecordingTracker(), SilentDisplay(), assistant=Plain(), halving=halving).run()
    return study


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (WHOLE, WHOLE),
        (b"", b""),
        (WHOLE + b'{"op_code": 5, "c', WHOLE),
        (WHOLE + b'{"op_code": 5, "c\n', WHOLE),
        (WHOLE[:-1], WHOLE),
        (b'{"op_code": 5, "c' + WHOLE, WHOLE),
        (WHOLE + b"\0\0\0\0", WHOLE),
    ],
    ids=[
        "whole",
        "empty",
        "torn",
        "torn with an end",
        "without its end",
        "glued to a torn one",
        "zeros of a power cut",
    ],
)
def test_torn_records_are_taken_out(content: bytes, expected: bytes, tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    journal.write_bytes(content)
    assert mend(journal) == (content != expected)
    assert journal.read_bytes() == expected
    torn = tmp_path / "study.journal.torn"
    assert (torn.read_bytes() == content) if content != expected else not torn.exists()


def test_a_journal_that_is_not_there_needs_no_mending(tmp_path: Path) -> None:
    assert not mend(tmp_path / "study.journal")


def cuts(journal: bytes) -> list[int]:
    """Every end of a line, and a place within every line."""
    ends = [i + 1 for i, byte in enumerate(journal) if byte == ord("\n")]
    middles = [(begin + end) // 2 for begin, end in zip([0, *ends], ends, strict=False)]
    return sorted({0, *ends, *middles})


@pytest.mark.parametrize("make_plan", [grid, bayes])
def test_a_study_that_was_cut_anywhere_goes_on_to_every_planned_trial_once(
    make_plan: Callable[[], Plan], tmp_path: Path
) -> None:
    whole = list(search(tmp_path / "whole", make_plan()).records)
    journal = (tmp_path / "whole" / "study.journal").read_bytes()
    assert len(whole) >= 4
    for number, cut in enumerate(cuts(journal)):
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "study.journal").write_bytes(journal[:cut])
        for _ in range(2):  # what has gone on can go on again
            records = search(directory, make_plan()).records
            completed = [trial.key for trial in records if trial.status is Status.COMPLETED]
            assert len(completed) == len(set(completed)) == len(whole), cut
            if make_plan is grid:
                assert set(completed) == {trial.key for trial in whole}
        lines = (directory / "study.journal").read_text().splitlines()
        assert all(json.loads(line) for line in lines)
        shutil.rmtree(directory)
