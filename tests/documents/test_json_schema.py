"""The documented schema names every field that an answer has, and no other."""

from __future__ import annotations

import re

from documents import ROOT

from tuning.objective import Objective
from tuning.show.answer import Answer
from tuning.show.schema import SCHEMA_VERSION
from tuning.stats.recommendation import recommend
from tuning.stats.table import TableRow
from tuning.trial import finished_trial

TEXT = (ROOT / "docs" / "json.md").read_text()
ANSWER = TEXT.partition("## An answer")[2].partition("## Other commands")[0]


def fields(lines: list[str], column: int) -> set[str]:
    return {name for line in lines for name in re.findall(r"`([a-z_]+)`", line.split("|")[column])}


def test_an_answer_has_the_documented_fields() -> None:
    trials = [finished_trial(size, seed, 0.9 + seed / 100) for size in (8, 16) for seed in range(3)]
    answer = Answer(recommend(trials, objective=Objective("val_accuracy")), "s", "", "1").to_json()
    lines = [line for line in ANSWER.splitlines() if line.startswith("| `")]
    assert fields(lines, 1) == {*answer, "pareto", "device_kind"}
    (row,) = [line for line in lines if line.startswith("| `table`")]
    assert fields([row], 2) == set(TableRow.__dataclass_fields__)


def test_the_documented_version_is_the_one_in_force() -> None:
    assert f"`schema_version`, now {SCHEMA_VERSION}." in TEXT
