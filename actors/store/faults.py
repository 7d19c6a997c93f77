"""What can go wrong with the database, in words for a person."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Final

from gpuyard.actors.model.errors import DatabaseRefused

# What reading or writing a database raises.
FAULTS: Final = (sqlite3.Error, UnicodeDecodeError)


class GuardFailed(Exception):
    """The stored state is not what the commit expects: the Scheduler must rebuild from the store."""


class DiskFailed(Exception):
    """The database could not be read or written; the sentence is for a person.

    `broken` tells that the connection itself is not to be trusted any more (as against a full disk or a lock).
    `detail` is the sentence for clients, who are told no path.
    """

    def __init__(self, sentence: str, *, broken: bool = True, detail: str = "") -> None:
        super().__init__(sentence)
        self.broken = broken
        self.detail = detail


CURE = "restore a backup with: gpuyard db restore BACKUP"

_SENTENCES = {
    "SQLITE_FULL": "the disk of {path} is full: nothing was accepted; free some space and the queue goes on by itself",
    "SQLITE_READONLY": "{path} is read-only: make it and its folder writable and the queue goes on by itself",
    "SQLITE_PERM": "{path} may not be written: make it and its folder writable and the queue goes on by itself",
    "SQLITE_CANTOPEN": "{path} cannot be opened: check that its folder exists and is writable",
    "SQLITE_IOERR": "the disk of {path} reports an error ({name}): check the disk; the queue goes on once it works",
    "SQLITE_BUSY": "another program (an open sqlite3 shell?) keeps {path} locked: end it and the queue goes on",
    "SQLITE_LOCKED": "another program keeps {path} locked: end it and the queue goes on",
    "SQLITE_CORRUPT": "{path} is damaged: stop the server and " + CURE,
    "SQLITE_NOTADB": "{path} is not a database (any more): stop the server and " + CURE,
}


def explain(error: BaseException, path: Path | str) -> str:
    """`error` of SQLite (or of the system) as one sentence that names the cure.

    >>> explain(ValueError("odd"), Path("jobs.db"))
    'jobs.db could not be used: odd'
    """
    name = getattr(error, "sqlite_errorname", None) or ""
    # Extended names begin with their family's: SQLITE_IOERR_WRITE, SQLITE_READONLY_DBMOVED …
    family = "_".join(name.split("_")[:2])
    sentence = _SENTENCES.get(family, "{path} could not be used: {error}")
    return sentence.format(path=path, name=name, error=error)


def disk_failed(error: BaseException, path: Path) -> DiskFailed:
    waits = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED"))
    return DiskFailed(explain(error, path), broken=not waits, detail=explain(error, "the database"))


def sync_failed(error: OSError, path: Path) -> DiskFailed:
    """What was written could not be made durable."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    sentence = _SENTENCES["SQLITE_FULL" if full else "SQLITE_IOERR"]
    said = {place: sentence.format(path=place, name=error.strerror) for place in (path, "the database")}
    return DiskFailed(said[path], detail=said["the database"])


def is_damage(error: BaseException) -> bool:
    """The file itself is wrong, as against the disk being full or busy."""
    # Text that is no UTF-8 is made by damage only; Python meets it in a column or in SQLite's own words about it.
    undecodable = isinstance(error, UnicodeDecodeError) or str(error).startswith("Could not decode to UTF-8")
    return undecodable or getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def refused(error: BaseException, path: Path) -> DatabaseRefused:
    """`error` as a refusal that names the cure; damage is called by its name."""
    if is_damage(error):
        return damaged(path, str(error))
    return DatabaseRefused(explain(error, path), path=str(path))


def damaged(path: Path, what: str) -> DatabaseRefused:
    """A refusal of a damaged database; `what` completes "jobs.db is damaged: …"."""
    return DatabaseRefused(f"{path} is damaged: {what}; {CURE}", path=str(path), damaged=True)
