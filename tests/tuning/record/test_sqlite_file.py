"""A new sqlite store appears complete, and only where none was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.util import CommandError

from tuning.record import sqlite_file
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.sqlite_file import SCRIPT, create_file, migrate, prepare_file, revision_of, script_of
from tuning.record.store import connect


def test_a_new_store_is_complete_and_leaves_no_draft(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    client = connect(f"sqlite:///{tmp_path}/mlflow.db", create=True)
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.db-wal", "mlflow.db-shm"}
    assert client.create_experiment("first") == "1"
    assert capfd.readouterr() == ("", "")


def test_a_removed_stores_leftovers_do_not_enter_the_new_one(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "mlflow.db")
    old.execute("PRAGMA journal_mode = WAL")
    old.execute("CREATE TABLE experiments (name TEXT)")
    (tmp_path / "mlflow.db").unlink()
    assert (tmp_path / "mlflow.db-wal").stat().st_size > 0
    client = connect(f"sqlite:///{tmp_path}/mlflow.db", create=True)
    old.close()
    assert client.create_experiment("first") == "1"


def test_the_store_that_was_there_first_stays(tmp_path: Path, migrated_store: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(migrated_store.read_bytes())
    connect(f"sqlite:///{path}").create_experiment("precious")
    create_file(path)
    assert connect(f"sqlite:///{path}").get_experiment_by_name("precious") is not None


def test_preparing_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare_file()
    MlflowTracker().prepare()
    assert list(tmp_path.iterdir()) == []


def test_the_default_experiment_lies_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        default = connect(f"sqlite:///{tmp_path}/{name}/mlflow.db", create=True).get_experiment("0")
        assert default.artifact_location == str(tmp_path / name / "mlruns" / "0")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of MLflow's own making."""
    path = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    migrate(path)
    return path


def test_the_script_makes_what_the_migrations_make(migrated: Path) -> None:
    script = SCRIPT.read_text()
    if f"'{revision_of(migrated)}'" not in script:
        pytest.skip("MLflow has other tables: run python -m tuning.record.sqlite_file to have them written at once")
    assert lines_of(script_of(migrated)) == lines_of(script)


def lines_of(script: str) -> list[str]:
    """Its lines in a fixed order: in which one MLflow writes the constraints of a table is chance."""
    return sorted(line.strip().rstrip(",").rstrip() for line in script.splitlines())


def test_a_store_is_made_by_the_script_where_mlflow_takes_it_as_it_is(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_file._empty_store.cache_clear()
    script = tmp_path / "script.sql"
    script.write_text(script_of(migrated) + "CREATE TABLE made_by_the_script (number INTEGER);")
    monkeypatch.setattr(sqlite_file, "SCRIPT", script)
    create_file(tmp_path / "mlflow.db")
    sqlite_file._empty_store.cache_clear()
    assert "made_by_the_script" in script_of(tmp_path / "mlflow.db")
    assert connect(f"sqlite:///{tmp_path}/mlflow.db").create_experiment("first") == "1"


@pytest.mark.parametrize("change", ["revision", "tables", "file"])
def test_a_script_of_another_version_makes_way_for_the_migrations(
    change: str, tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite_file._empty_store.cache_clear()
    changed = {
        "revision": script_of(migrated).replace(revision_of(migrated), "0123456789ab"),
        "tables": "CREATE TABLE alembic_version (version_num); INSERT INTO alembic_version VALUES ('0a8213491aaa');",
        "file": "CREATE TABLE",
    }
    script = tmp_path / "script.sql"
    script.write_text(changed[change])
    monkeypatch.setattr(sqlite_file, "SCRIPT", script)
    create_file(tmp_path / "mlflow.db")
    sqlite_file._empty_store.cache_clear()
    assert lines_of(script_of(tmp_path / "mlflow.db")) == lines_of(script_of(migrated))


def test_an_older_mlflow_that_does_not_know_the_revision_of_the_script_makes_its_own_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def older(draft: Path) -> None:
        if draft.exists():
            raise CommandError("Can't locate revision identified by '0123456789ab'")
        migrate(draft)

    sqlite_file._empty_store.cache_clear()
    monkeypatch.setattr(sqlite_file, "migrate", older)
    create_file(tmp_path / "mlflow.db")
    sqlite_file._empty_store.cache_clear()
    assert connect(f"sqlite:///{tmp_path}/mlflow.db").create_experiment("first") == "1"
