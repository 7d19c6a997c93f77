"""The schema's steps: which ones a database has had, and applying those that it lacks."""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Final

from peewee import SqliteDatabase
from playhouse.migrations import Runner

from gpuyard.actors.model.errors import DatabaseRefused
from gpuyard.actors.store.faults import damaged

MIGRATIONS: Final = Path(__file__).parent / "migrations"
# "gpyd": tells our databases from others that have a table `queue` too.
APPLICATION_ID: Final = 0x67707964


def known(directory: Path = MIGRATIONS) -> set[str]:
    """The steps that this program knows, by name."""
    return {file.stem for file in directory.glob("[0-9]*.py")}


def applied(connection: sqlite3.Connection) -> set[str]:
    """The steps that a database has had."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migration'").fetchone():
        return set()
    return {name for (name,) in connection.execute("SELECT name FROM schema_migration")}


def refuse_foreign(connection: sqlite3.Connection, path: Path, directory: Path = MIGRATIONS) -> None:
    """Raise DatabaseRefused for another program's database, or one of a newer gpuyard."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        if applied(connection) & known(directory):
            raise damaged(path, "its application id was changed")
        raise DatabaseRefused(
            f"{path} is not a database of gpuyard: take another --data-dir"
            " (for a SimpleTuner database: gpuyard db import-simpletuner)",
            path=str(path),
        )
    newer = applied(connection) - known(directory)
    if newer:
        raise DatabaseRefused(
            f"{path} was written by a newer gpuyard (it has had step {max(newer)}): install that version or a later"
            " one (pip install --upgrade gpuyard), or restore an older backup with: gpuyard db restore BACKUP",
            path=str(path),
            steps=sorted(newer),
        )


def differences(connection: sqlite3.Connection, directory: Path = MIGRATIONS) -> list[str]:
    """Tables, indexes and triggers that are missing or not what the applied steps made (others may stand beside)."""
    steps = applied(connection)
    found = _objects(connection)
    expected = _expected(directory, max(steps)) if steps else {}
    return [name for name, sql in expected.items() if found.get(name) != sql]


@lru_cache(maxsize=8)
def _expected(directory: Path, last: str) -> dict[str, str]:
    """What the steps up to `last` make, built in memory."""
    database = SqliteDatabase(":memory:", autoconnect=False)
    database.connect()
    try:
        Runner(database, str(directory)).up(last)
        return _objects(database.connection())  # type: ignore[no-untyped-call]
    finally:
        database.close()


def _objects(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT type || ' ' || name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    # The runner's own table is built by peewee, each version in its own words.
    return {name: sql for name, sql in rows if "schema_migration" not in name}


def migrate(database: SqliteDatabase, directory: Path = MIGRATIONS) -> list[str]:
    """Apply the steps that are missing, each in its own transaction; their names."""
    names: list[str] = Runner(database, str(directory)).up()
    return names
