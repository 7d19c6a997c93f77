"""`db check`, `backup`, `restore` and `import-simpletuner` on a real database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors.store.database import Database
from tests.unit.cli.conftest import Gpuyard


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPUYARD_CONFIG_FILE", str(tmp_path / "none.toml"))
    found = tmp_path / "data"
    found.mkdir(mode=0o700)
    monkeypatch.setenv("GPUYARD_DATA_DIR", str(found))
    return found


@pytest.fixture
def database(folder: Path) -> Path:
    """A database as the server makes it."""
    path = folder / "jobs.db"
    Database.open(path).close()
    return path


def test_it_is_the_servers_database() -> None:
    from gpuyard.cli import data_folder
    from gpuyard.cli.commands import db

    assert db.DATABASE == data_folder.DATABASE


def test_a_whole_database(gpuyard: Gpuyard, database: Path) -> None:
    result = gpuyard("db", "check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "is whole" in result.stderr


def test_no_database_is_exit_code_5(gpuyard: Gpuyard, folder: Path) -> None:
    assert gpuyard("db", "check").exit_code == 5
    assert gpuyard("db", "backup", str(folder / "copy")).exit_code == 5
    assert gpuyard("db", "restore", str(folder / "copy")).exit_code == 5


def test_damage_is_a_line_each_and_exit_code_1(gpuyard: Gpuyard, database: Path) -> None:
    database.write_bytes(b"this was a database once " * 1000)
    result = gpuyard("db", "check")
    assert result.exit_code == 1
    assert result.stdout
    assert "gpuyard db restore" in result.stderr


def test_a_backup_can_be_restored(gpuyard: Gpuyard, database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    made = gpuyard("db", "backup", str(copy))
    assert made.exit_code == 0, made.output
    assert made.stdout == f"{copy}\n"
    again = gpuyard("db", "backup", str(copy))
    assert again.exit_code == 1
    assert "--force" in again.stderr
    assert gpuyard("db", "backup", str(copy), "--force").exit_code == 0

    database.write_bytes(b"this was a database once " * 1000)
    restored = gpuyard("db", "restore", str(copy))
    assert restored.exit_code == 0, restored.output
    assert gpuyard("db", "check").exit_code == 0
    assert list(database.parent.glob("jobs.db.replaced-*")), "what was there is kept"


def test_over_a_whole_database_it_asks_and_without_a_terminal_refuses(
    gpuyard: Gpuyard, database: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    assert gpuyard("db", "backup", str(copy)).exit_code == 0
    result = gpuyard("db", "restore", str(copy))
    assert result.exit_code == 2
    assert "-y" in result.stderr
    assert not list(database.parent.glob("jobs.db.replaced-*"))
    assert gpuyard("db", "restore", str(copy), "-y").exit_code == 0


def test_import_simpletuner_says_what_it_took_and_what_not(folder: Path, gpuyard: Gpuyard) -> None:
    source = folder / "simpletuner.db"
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY, job_id TEXT, status TEXT, queued_at TEXT)")
        connection.executemany(
            "INSERT INTO queue (job_id, status, queued_at) VALUES (?, ?, '2026-01-02T03:04:05')",
            [("abc123", "completed"), ("run789", "running")],
        )
    done = gpuyard("db", "import-simpletuner", str(source))
    assert (done.exit_code, done.stdout) == (0, "1\n")
    assert "1 job not imported: not ended yet" in done.stderr
    assert gpuyard("db", "import-simpletuner", str(folder / "missing")).exit_code == 5


def test_a_lost_administrator_is_rescued_in_the_stopped_servers_database(gpuyard: Gpuyard, database: Path) -> None:
    from tests.support_people import town

    assert gpuyard("users", "rescue").exit_code == 1, "there are no users"
    with town(database.parent) as people:
        people.add("root", "admin")
        busy = gpuyard("users", "rescue")
        assert (busy.exit_code, busy.stdout) == (1, "")
    done = gpuyard("users", "rescue")
    assert (done.exit_code, done.stdout[:3], len(done.stdout)) == (0, "gy_", 47)
    assert gpuyard("users", "rescue", "nobody").exit_code == 5
