"""A database in memory with the real schema, for tests of single statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from peewee import SqliteDatabase

from gpuyard.actors.store import identity
from gpuyard.actors.store.schema import migrate


@cache
def _built() -> bytes:
    database = SqliteDatabase(":memory:", autoconnect=False)
    database.connect()
    migrate(database)
    connection: sqlite3.Connection = database.connection()
    identity.found(connection)
    data = connection.serialize()
    database.close()
    return data


@contextmanager
def scratch() -> Iterator[sqlite3.Connection]:
    """A fresh database; foreign keys are on as in the real one."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.deserialize(_built())
        connection.execute("PRAGMA foreign_keys = 1")
        yield connection
    finally:
        connection.close()
