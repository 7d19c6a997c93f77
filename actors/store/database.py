"""The open database of the one supervisor: how it is opened, whose it is, and the transaction that guards each write.

WAL with `synchronous=FULL`: measured, NORMAL lost acknowledged rows in each simulated power loss, FULL in none. A
transaction that is to be seen by other processes before it is on the disk takes NORMAL, and is synced by hand.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from peewee import PeeweeException, SqliteDatabase

from gpuyard.actors.durable import put_in_place
from gpuyard.actors.model.commit import Snapshot
from gpuyard.actors.model.errors import DatabaseRefused
from gpuyard.actors.model.ids import fence_epoch
from gpuyard.actors.store import identity, mounts, reads
from gpuyard.actors.store.faults import (
    FAULTS,
    DiskFailed,
    GuardFailed,
    damaged,
    disk_failed,
    explain,
    is_damage,
    refused,
    sync_failed,
)
from gpuyard.actors.store.lock import Seen, SupervisorLock
from gpuyard.actors.store.schema import APPLICATION_ID, MIGRATIONS, migrate
from gpuyard.actors.store.soundness import is_new, refuse_unsound, run_fences
from gpuyard.actors.store.wal import wal_path

log = logging.getLogger("gpuyard.store")

BUSY_SECONDS: Final = 2.0
# Less would pass where the next commit does not.
TRIAL_BYTES: Final = 65_536
# The log's space is written once in advance: a commit into it costs half of one that makes the file longer.
LOG_BYTES: Final = 4_000_000

PRAGMAS: Final = {
    "journal_mode": "wal",
    "synchronous": "full",
    "foreign_keys": 1,
    # Checkpoints are made off the commit path (checkpoint.py).
    "wal_autocheckpoint": 0,
    "journal_size_limit": 8 * LOG_BYTES,
    "cache_size": -16_000,
    "recursive_triggers": 1,
}


class Database:
    """Made by `open`; belongs to the thread that opened it. `connection` is for the statements of a transaction."""

    def __init__(self, path: Path, lock: SupervisorLock, migrations: Path) -> None:
        self.path = path
        self._lock = lock
        self._migrations = migrations
        self._peewee = _connect(path)
        self.connection = _raw(self._peewee)
        self._file = _file_of(path)
        self._durable = True
        self._log: int | None = None
        self.db_id = ""
        self.db_epoch = 0
        self._supervisor = 0

    @classmethod
    def open(cls, path: Path, migrations: Path = MIGRATIONS, *, patience: float = 0.0) -> Database:
        """Open (or begin) the database at `path` as its one supervisor. Raises DatabaseRefused, naming the cure.

        `patience` is how many seconds to wait while this same process still holds it.
        """
        path = path.absolute()
        try:
            path = real_place(path)
            lock = SupervisorLock(path, patience)
        except OSError as error:
            raise refused(error, path) from error
        try:
            if is_new(path):
                _create(path, migrations)
            else:
                refuse_unsound(path, migrations)
            return cls._open(path, lock, migrations)
        except (*FAULTS, PeeweeException, OSError) as error:
            lock.release()
            raise refused(_cause(error), path) from error
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _open(cls, path: Path, lock: SupervisorLock, migrations: Path) -> Database:
        database = cls(path, lock, migrations)
        try:
            migrate(database._peewee, migrations)
            database._claim()
            database._fill_log()
        except BaseException:
            database._peewee.close()
            raise
        return database

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One durable transaction; nothing of it stays when the block raises.

        With `durable` False it outlives this process, and a power loss only after `sync`.
        Raises GuardFailed when another supervisor has opened the database since, DiskFailed when it cannot be
        written (also when the file was replaced or deleted: SQLite would go on writing into nowhere).
        """
        try:
            self._check_place()
            if durable is not self._durable:
                self.connection.execute(f"PRAGMA synchronous = {'full' if durable else 'normal'}")
                self._durable = durable
            self.connection.execute("BEGIN IMMEDIATE")
            if identity.get(self.connection, identity.SUPERVISOR) != self._supervisor:
                raise GuardFailed(f"another supervisor has opened {self.path}")
            yield self.connection
            self.connection.execute("COMMIT")
        except FAULTS as error:
            self._rollback()
            raise disk_failed(error, self.path) from error
        except BaseException:
            self._rollback()
            raise

    def sync(self) -> None:
        """Make durable what was written. Raises DiskFailed: then it is there, and nobody knows for how long."""
        try:
            if self._log is None:
                self._log = os.open(wal_path(self.path), os.O_RDONLY | os.O_CLOEXEC)
            os.fdatasync(self._log)
        except OSError as error:
            raise sync_failed(error, self.path) from error

    def try_to_write(self) -> None:
        """Write as much as some commits would, durably, and take it away again. Raises GuardFailed, DiskFailed."""
        with self.transaction() as connection:
            identity.put(connection, identity.TRIAL, "x" * TRIAL_BYTES)
        with self.transaction() as connection:
            identity.drop(connection, identity.TRIAL)

    def snapshot(self, now: float) -> Snapshot:
        """All active state. Raises DiskFailed, or DatabaseRefused where a row is not what our programs write."""
        try:
            return reads.snapshot(self.connection, self.db_id, self.db_epoch, now)
        except FAULTS as error:
            if is_damage(error):
                raise damaged(self.path, str(error)) from error
            raise disk_failed(error, self.path) from error
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            raise damaged(self.path, f"a row cannot be read ({error})") from error

    def checkpoint(self) -> None:
        """Bring what the log holds into the database now, as far as readers let it."""
        try:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            log.warning("the log of %s could not be brought into the database: %s", self.path, error)

    def reconnect(self) -> None:
        """Take a new connection after a fault of the disk. Raises DiskFailed while that does not work."""
        with suppress(sqlite3.Error, PeeweeException):
            self._disconnect()
        try:
            self._check_place()
            self._peewee = _connect(self.path)
            self.connection = _raw(self._peewee)
            self._durable = True
            # What a failed write left behind in the log must not look like damage later.
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (sqlite3.Error, PeeweeException) as error:
            raise DiskFailed(explain(_cause(error), self.path)) from error
        self._fill_log()

    def close(self) -> None:
        """Give the database back, with all of it in the one file: whoever copies that has everything."""
        try:
            with suppress(sqlite3.Error):
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._disconnect()
        finally:
            self._lock.release()

    def _disconnect(self) -> None:
        """The log may go with its last connection, and another one come."""
        if self._log is not None:
            os.close(self._log)
            self._log = None
        self._peewee.close()

    def _claim(self) -> None:
        """Make the database ours: a new supervisor epoch, and a new database epoch where an older state came back."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        self.db_id = identity.get(connection, identity.ID)
        self.db_epoch = identity.get(connection, identity.EPOCH)
        before = identity.get(connection, identity.SUPERVISOR)
        fences = [*run_fences(self.path.parent), identity.high_water(connection).fence]
        if self._came_back(before, fences):
            seen = max(self.db_epoch, self._lock.before.db_epoch, *map(fence_epoch, fences))
            self.db_epoch = seen + 1
            log.warning("%s is a copy or an older state: it goes on as database epoch %d", self.path, self.db_epoch)
        self._supervisor = max(before, self._lock.before.supervisor) + 1
        identity.put(connection, identity.EPOCH, self.db_epoch)
        identity.put(connection, identity.SUPERVISOR, self._supervisor)
        identity.put(connection, identity.FILE, self._file[1])
        identity.drop(connection, identity.BACKUP)
        connection.execute("COMMIT")
        self._lock.remember(Seen(pid=os.getpid(), db_epoch=self.db_epoch, supervisor=self._supervisor))

    def _came_back(self, supervisor: int, fences: list[int]) -> bool:
        """Is this an older state than one that was here (a backup put back by hand), or a copy of one elsewhere?

        Then fences might be handed out twice, unless the epoch grows.
        """
        inode = identity.get(self.connection, identity.FILE)
        return (
            identity.get(self.connection, identity.BACKUP, False)
            or (inode is not None and inode != self._file[1])
            or supervisor < self._lock.before.supervisor
            or max(fences) > identity.high_water(self.connection).fence
        )

    def _check_place(self) -> None:
        try:
            in_place = _file_of(self.path) == self._file
        except OSError:
            in_place = False
        if not in_place:
            raise DiskFailed(
                f"{self.path} was moved, deleted or replaced while the server runs:"
                " put the file back, or restart the server"
            )

    def _fill_log(self) -> None:
        """Write the log's space in advance: a transaction too big for the cache spills, and is taken back."""
        connection = self.connection
        try:
            connection.execute("PRAGMA cache_size = 10")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE filler (x)")
            connection.execute("INSERT INTO filler VALUES (zeroblob(?))", (LOG_BYTES,))
        except sqlite3.Error as error:
            log.warning("no space in advance for the log of %s: %s", self.path, error)
        finally:
            self._rollback()
            connection.execute(f"PRAGMA cache_size = {PRAGMAS['cache_size']}")

    def _rollback(self) -> None:
        # SQLite has often rolled back by itself (a full disk): then there is nothing left to do.
        if self.connection.in_transaction:
            with suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")


def real_place(path: Path) -> Path:
    """The absolute path of the database, links resolved, its folder made if need be.

    Raises DatabaseRefused for a network file system, OSError.
    """
    path = path.absolute()
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True)
    path = path.parent.resolve() / path.name
    if path.exists():
        path = path.resolve()
    kind = mounts.network_mount(path)
    if kind is not None:
        raise DatabaseRefused(
            f"{path} is on a network file system ({kind}), where a database is not safe:"
            " take a --data-dir on a local disk",
            path=str(path),
        )
    return path


def _create(path: Path, migrations: Path) -> None:
    """A new, empty database. It appears under its name only when it is complete."""
    draft = path.with_name(path.name + ".new")
    for file in (draft, draft.with_name(draft.name + "-journal")):
        file.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    database = SqliteDatabase(str(draft), autoconnect=False, lock_type="IMMEDIATE")
    database.connect()
    try:
        _raw(database).execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrate(database, migrations)
        identity.found(_raw(database))
    finally:
        database.close()
    put_in_place(draft, path)


def _connect(path: Path) -> SqliteDatabase:
    database = SqliteDatabase(
        str(path), autoconnect=False, lock_type="IMMEDIATE", pragmas=PRAGMAS, timeout=BUSY_SECONDS
    )
    database.connect()
    return database


def _raw(database: SqliteDatabase) -> sqlite3.Connection:
    connection: sqlite3.Connection = database.connection()  # type: ignore[no-untyped-call]
    return connection


def _file_of(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _cause(error: BaseException) -> BaseException:
    """SQLite's first own error: peewee wraps it in one of its own, and taking back after it may fail as well."""
    found, behind = error, error.__context__
    while behind is not None:
        found = behind if isinstance(behind, sqlite3.Error) else found
        behind = behind.__context__
    return found
