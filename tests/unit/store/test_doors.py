"""Whom a database lets in, as a server reads it before it opens to a network."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors.model.accounts import Accounts
from gpuyard.actors.model.accounts_users import add
from gpuyard.actors.model.commands import AddUser
from gpuyard.actors.model.people import OWNER
from gpuyard.actors.store import doors, registers
from gpuyard.actors.store.database import Database

NOW = 1_800_000_000.0


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with one user, who has one token."""
    path = tmp_path / "jobs.db"
    command = AddUser(username="root", level="admin", by=OWNER)
    change = add(Accounts(), command, NOW - 60, lambda: "gy_secret")
    opened = Database.open(path)
    with opened.transaction() as connection:
        registers.write(connection, change.rows)
    opened.close()
    return path


def changed(path: Path, statement: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    return path


def test_a_live_token_of_a_user_opens_the_door(database: Path) -> None:
    (found,) = doors.open_to(database, NOW)
    assert (found.username, found.user_id) == ("root", 1)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE token SET expires_at = '2020-01-01T00:00:00.000Z'",
        "UPDATE token SET revoked_at = '2020-01-01T00:00:00.000Z'",
        "DELETE FROM token",
        "UPDATE user SET disabled_at = '2020-01-01T00:00:00.000Z'",
        "UPDATE user SET deleted_at = '2020-01-01T00:00:00.000Z'",
    ],
)
def test_nobody_who_could_not_come_in_counts(database: Path, statement: str) -> None:
    assert doors.open_to(changed(database, statement), NOW) == []


def test_without_a_database_or_without_users_there_is_nobody(tmp_path: Path) -> None:
    assert doors.open_to(tmp_path / "jobs.db", NOW) == []
    Database.open(tmp_path / "jobs.db").close()
    assert doors.open_to(tmp_path / "jobs.db", NOW) == []


def test_a_database_from_before_there_were_users_lets_in_nobody(tmp_path: Path) -> None:
    golden = Path(__file__).resolve().parents[2] / "contract" / "store" / "golden" / "v1.sql"
    path = tmp_path / "jobs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(golden.read_text())
    assert doors.open_to(path, NOW) == []


def test_looking_changes_nothing(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(database, copy)
    doors.open_to(database, NOW)
    assert database.read_bytes() == copy.read_bytes()


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(sqlite3.Error):
        doors.open_to(path, NOW)
