"""A study as a file: the same search as its options, there and back."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import pytest

from tuning.cli import main, make_parser
from tuning.commands import search
from tuning.commands.study_file import to_toml

OPTIONS = {
    "grid": "grid 'my model.py:build' --batch-sizes 8,full --seeds 4 --no-scale-decay --timeout 1.5 --study 'ß \"1\"'",
    "bayes": "bayes digits --learning-rates 1e-4,1e-3 --trials 7 --sampler tpe --prune --scale-betas --target=-0.5",
    "allocated": "grid digits --batch-sizes 8,32 --seeds auto",
    "tune": "tune digits --epochs 3 --no-prune --first-seed 2 --rule quality --memory-limit 3GiB",
}


def parsed(words: list[str]) -> dict[str, Any]:
    return vars(make_parser().parse_args(words))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, argparse.Namespace]]:
    """What would be searched."""
    monkeypatch.chdir(tmp_path)
    found: list[tuple[str, argparse.Namespace]] = []
    monkeypatch.setattr(search, "_search", lambda kind, asked, _: found.append((kind, asked)) or 0)
    return found


@pytest.mark.parametrize("kind", OPTIONS)
def test_what_is_saved_is_run_as_it_was_asked(kind: str, ran: list[tuple[str, argparse.Namespace]]) -> None:
    words = shlex.split(OPTIONS[kind])
    kind = words[0]
    asked = make_parser().parse_args(words)
    Path("study.toml").write_text(to_toml(kind, asked), encoding="utf-8")
    assert main(["run", "study.toml"]) == 0
    assert ran == [(kind, asked)]
    again = to_toml(kind, ran[0][1])
    assert again == Path("study.toml").read_text(encoding="utf-8")


def test_a_file_may_have_comments_lists_and_switches_and_options_count_more(
    ran: list[tuple[str, argparse.Namespace]],
) -> None:
    Path("study.toml").write_text(
        "# why\ncommand = 'grid'\nworkload = 'digits'  # embedded\nbatch-sizes = [8, 'full']\nepochs = 2\n"
        "scale-decay = false\naccumulate = true\nscale-betas = false\n"
    )
    assert main(["run", "study.toml", "--epochs", "3"]) == 0
    expected = ["grid", "digits", "--batch-sizes", "8,full", "--epochs", "3", "--no-scale-decay", "--accumulate"]
    assert vars(ran[0][1]) == parsed(expected)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("command = 'grid", "must be TOML"),
        ("workload = 'digits'", "must have a command, one of tune, grid, bayes; got None"),
        ("command = 'train'\nworkload = 'digits'", "got 'train'"),
        ("command = 'grid'", "must have a workload"),
        ("command = 'grid'\nworkload = 'digits'\nbatchsizes = '8'", "got 'batchsizes'; did you mean batch-sizes?"),
        ("command = 'grid'\nworkload = 'digits'\nseeds = 'many'", "must be a whole number from 1 to 10000; got 'many'"),
    ],
)
def test_what_is_no_study_is_told_in_one_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study.toml").write_text(text)
    try:
        status: Any = main(["run", str(tmp_path / "study.toml")])
    except SystemExit as end:
        status = end.code
    line = capsys.readouterr().err
    assert told in line
    assert (status, line.count("\n")) == (2, 1)
    assert main(["run", str(tmp_path / "none.toml")]) == 2
