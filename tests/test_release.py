"""A release: one version in all files, and a README whose links lead somewhere from anywhere."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/someone/project"

_spec = importlib.util.spec_from_file_location("release", ROOT / "tools" / "release.py")
assert _spec is not None
assert _spec.loader is not None
release = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release)


def test_all_files_name_one_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", release.version_of(ROOT))


def test_files_that_name_different_versions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CITATION.cff").write_text("version: 1.1.0\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.0 (unreleased)\n")
    with pytest.raises(ValueError, match=r"must name one version; got \['1\.2\.0', '1\.1\.0', '1\.2\.0'\]"):
        release.version_of(tmp_path)


def test_links_and_images_of_the_released_readme_are_whole_addresses() -> None:
    readme = (ROOT / "README.md").read_text()
    released = release.with_addresses(readme, REPOSITORY, "1.2.0")
    targets = re.findall(r"\]\(([^)]+)\)", released)
    assert len(targets) == len(re.findall(r"\]\(([^)]+)\)", readme)) > 10
    assert all(target.startswith("https://") for target in targets)
    assert f"({REPOSITORY}/raw/v1.2.0/docs/images/ui_charts.png)" in released
    assert f"({REPOSITORY}/blob/v1.2.0/docs/index.md)" in released
    assert release.with_addresses(released, REPOSITORY, "1.2.0") == released


def test_the_released_project_names_its_addresses() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text() + release.urls(REPOSITORY, "1.2.0"))["project"]
    assert project["urls"]["Homepage"] == REPOSITORY
    assert project["urls"]["Changelog"] == f"{REPOSITORY}/blob/v1.2.0/CHANGELOG.md"
