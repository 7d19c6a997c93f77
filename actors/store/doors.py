"""Whom the database lets in, read without being its server: what a server must know before it opens to a network."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gpuyard.actors.model.accounts import REGISTERS, accounts_from, credentials
from gpuyard.actors.model.views import Credential
from gpuyard.actors.store import registers
from gpuyard.actors.store.soundness import reading


def open_to(path: Path, now: float) -> list[Credential]:
    """Every token that opens the door now: live, and of a user who is not disabled. None without a database.

    Raises sqlite3.Error or ValueError where it can't be read: the server that opens it says why.
    """
    if not path.is_file():
        return []
    with reading(path) as connection:
        if not _has_people(connection):
            return []
        return credentials(accounts_from({name: registers.read(connection, name) for name in REGISTERS}), now)


def _has_people(connection: sqlite3.Connection) -> bool:
    """A database from before there were users has none of these tables."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return tables >= set(REGISTERS)
