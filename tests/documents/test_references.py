"""The references tell all there is, and only that: options, arguments, fields, names, layers."""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
from documents import ROOT

import search_spaces
import tuning
from search_spaces.scaling import FOLLOWERS
from tuning.cli import main
from tuning.record import layout
from tuning.search.options import SearchOptions
from tuning.stats.recommendation import Recommendation
from tuning.trial import Status

DOCS = ROOT / "docs"
CODE = re.compile(r"`([^`\n]+)`")


def names_in(document: str) -> set[str]:
    """The words that a document sets as code."""
    return {word for code in CODE.findall((DOCS / document).read_text()) for word in re.findall(r"[\w.\-]+", code)}


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command's `--help` prints."""
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--help"])
    return capsys.readouterr().out


def commands(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The commands that `batch-size --help` lists."""
    return re.findall(r"^    (\w+)\b", printed(capsys), re.MULTILINE)


def test_the_command_line_s_reference_has_every_option_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    told = {name for name in names_in("command_line.md") if name.startswith("--")}
    there = {option for name in commands(capsys) for option in re.findall(r"--[\w-]+", printed(capsys, name))}
    assert told == there - {"--help"}


def test_the_command_line_s_reference_has_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    told = re.findall(r"^\| \[`batch-size (\w+)", (DOCS / "command_line.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(commands(capsys))


def test_the_list_of_workloads_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workloads"]) == 0
    table = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert table in (DOCS / "command_line.md").read_text()


def test_the_python_reference_has_every_public_name() -> None:
    told = names_in("python_api.md")
    assert set(tuning.__all__) | set(search_spaces.__all__) <= told
    assert {field.name for field in fields(SearchOptions)} <= told
    assert {field.name for field in fields(Recommendation)} <= told


def test_the_python_reference_has_every_argument_of_the_tuners() -> None:
    arguments = set(inspect.signature(tuning.BayesianOptimization).parameters)
    arguments |= set(inspect.signature(tuning.GridSearch).parameters)
    assert arguments - {"rest", "more_options"} <= names_in("python_api.md")


@pytest.mark.parametrize("package", ["tuning", "search_spaces"])
def test_the_pages_from_docstrings_have_every_public_name(package: str) -> None:
    page = (DOCS / "reference" / f"{package}.md").read_text()
    told = [name.rpartition(".") for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]
    public = importlib.import_module(package)
    assert set(public.__all__) <= {name for _, _, name in told}
    for module, _, name in told:
        found = getattr(importlib.import_module(module), name)
        assert isinstance(found, str) or (found.__module__ == module and found.__doc__), name


def test_the_mlflow_reference_has_every_tag_param_and_status() -> None:
    told = names_in("mlflow.md")
    tags = {layout.TRIAL_ID, layout.STATUS, layout.REASON, layout.STAGE, layout.HYPERPARAMETERS, layout.STUDY}
    assert tags | {layout.UPDATED, layout.NOTE, layout.LOG_TAIL} | layout.OWN_PARAMS <= told
    text = (DOCS / "mlflow.md").read_text()
    for status in Status:
        assert f"| `{status.value}` | {layout.run_status(status)} |" in text


def test_the_architecture_names_every_package() -> None:
    told = (DOCS / "architecture.md").read_text()
    packages = [path for path in (ROOT / "tuning").iterdir() if (path / "__init__.py").exists()]
    assert all(f"tuning/{path.name}/" in told for path in packages)


def test_files_that_documents_name_exist() -> None:
    for document in sorted(DOCS.glob("*.md")):
        for code in CODE.findall(document.read_text()):
            if re.fullmatch(r"(tuning|search_spaces|benchmarks|tests|docs)/[\w/.]+\.py", code):
                assert Path(ROOT, code).is_file(), code


def test_the_document_has_everything_that_could_follow_the_batch_size() -> None:
    text = (DOCS / "recommendation.md").read_text()
    for follower in FOLLOWERS:
        assert f"| {follower.name} | {follower.rule} | {follower.default} | {follower.why} |" in text
