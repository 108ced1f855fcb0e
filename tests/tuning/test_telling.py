"""How an answer is told to a script, to a GitHub job, and to whoever expects a batch size."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from tuning.commands.answering import expected
from tuning.commands.telling import tell
from tuning.objective import Objective
from tuning.show.answer import Answer
from tuning.stats.recommendation import recommend
from tuning.trial import finished_trial

MEANS = {8: 0.80, 32: 0.951, 128: 0.9512}
NOISE = (0.002, -0.001, -0.001)


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    monkeypatch.chdir(tmp_path)
    trials = [
        finished_trial(size, seed, mean + NOISE[(seed + i) % 3], examples_per_second=100.0 * size)
        for i, (size, mean) in enumerate(MEANS.items())
        for seed in range(3)
    ]
    return Answer(recommend(trials, objective=Objective("val_accuracy")), "s", "", "1")


@pytest.mark.parametrize(
    ("size", "is_good", "told"),
    [
        (128, True, "Batch size 128 is the recommended one, as expected."),
        (32, True, "Batch size 32 was expected; 128 is recommended, and 32 is tied with the best."),
        (8, False, "Batch size 8 was expected; 128 is recommended, and the verdict on 8 is: lower."),
    ],
)
def test_a_batch_size_in_use_is_as_good_as_its_verdict(answer: Answer, size: int, is_good: bool, told: str) -> None:
    assert expected(size, answer) == (is_good, told)


def test_a_batch_size_in_use_must_have_been_tried(answer: Answer) -> None:
    with pytest.raises(ValueError, match="that was tried: 8, 32, 128; got 64"):
        expected(64, answer)


def test_a_github_job_gets_the_answer_on_its_page(
    answer: Answer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("page.md").write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "page.md")
    assert tell(answer, Namespace(json=True, tracking_uri=None)) == 0
    assert Path("page.md").read_text() == f"before\n{answer.to_markdown()}\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "nowhere/page.md")
    assert tell(answer, Namespace(json=True, tracking_uri=None)) == 0
    assert "GITHUB_STEP_SUMMARY must name a file that can be written" in capsys.readouterr().err
