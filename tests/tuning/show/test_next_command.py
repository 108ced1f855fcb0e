"""The command that adds what a step names to the study of another command."""

from __future__ import annotations

import pytest

from tuning.show.next_command import next_command, proceed
from tuning.stats.next_step import NextStep

TIE = NextStep("tie", (32, 64), seeds=8)
LARGER = NextStep("larger sizes", (256, 512))
RATES = NextStep("learning rate", (32,), (0.3, 1.0))


@pytest.mark.parametrize(
    ("command", "step", "told"),
    [
        ("grid 'my model.py:build' --seeds 3 --json", TIE, "grid 'my model.py:build' --batch-sizes 32,64 --seeds 8"),
        ("grid digits --seeds=3 --fresh", TIE, "grid digits --batch-sizes 32,64 --seeds 8"),
        ("grid digits --min-batch 8 --max-batch=64 --study s", LARGER, "grid digits --study s --batch-sizes 256,512"),
        ("grid tabular", RATES, "grid tabular --batch-sizes 32 --learning-rates 0.3,1"),
        ("tune digits --quiet", TIE, "tune digits --seeds 8"),
        ("tune digits --batch-sizes 8,128", LARGER, "tune digits --batch-sizes 256,512"),
        ("bayes digits", LARGER, "bayes digits --batch-sizes 256,512 --trials 40"),
        ("bayes digits --trials 12", LARGER, "bayes digits --batch-sizes 256,512 --trials 22"),
        (
            "bayes digits --learning-rates 0.1",
            RATES,
            "bayes digits --batch-sizes 32 --learning-rates 0.3,1 --trials 40",
        ),
    ],
)
def test_the_command_of_a_study_is_the_one_that_adds_to_it(command: str, step: NextStep, told: str) -> None:
    assert next_command(command.split()[0], f"batch-size {command}", step) == f"batch-size {told}"


def test_a_study_from_a_file_is_added_to_by_options_behind_it() -> None:
    told = "batch-size run study.toml --batch-sizes 32,64 --seeds 8"
    assert next_command("grid", "batch-size run study.toml --seeds 3", TIE) == told


def test_a_search_that_chooses_its_learning_rates_is_not_told_which() -> None:
    assert next_command("tune", "batch-size tune digits", RATES) == ""
    assert proceed({"search": "tune", "command": "batch-size tune digits"}, RATES) == ""
    assert proceed({"search": "tune", "command": ""}, RATES) == ""


def test_a_tuner_is_told_its_arguments() -> None:
    told = "Settle the tie: search again with batch_size=BatchSize.of(32,64), seeds=8"
    assert proceed({"search": "grid", "command": ""}, TIE) == told
    assert proceed({"search": "grid", "command": "batch-size grid digits"}, TIE).startswith(
        "Settle the tie: batch-size"
    )


def test_nothing_is_proposed_where_nothing_is_open_or_another_program_ran() -> None:
    assert proceed({"search": "grid", "command": "batch-size grid digits"}, None) == ""
    assert proceed({}, TIE) == ""
