"""`gpuyard db check`, `backup` and `restore`: plain functions, which need no server and disturb none.

Check and backup work while the server runs. A restore takes the supervisor's lock, so that nobody writes meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from gpuyard.actors.durable import put_in_place, sync_folder
from gpuyard.actors.model.errors import DatabaseRefused, InvalidInput, NotFound
from gpuyard.actors.model.ids import fence_epoch
from gpuyard.actors.store import identity, invariants, wal
from gpuyard.actors.store.database import real_place
from gpuyard.actors.store.faults import FAULTS, damaged, refused
from gpuyard.actors.store.identity import Marks
from gpuyard.actors.store.lock import SupervisorLock
from gpuyard.actors.store.soundness import is_new, reading, refuse_unsound, restoring_path, run_fences

SHOWN: Final = 20


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was made: `bytes` long, with so many jobs and events."""

    path: Path
    jobs: int
    events: int
    bytes: int


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore did: the database it replaced is kept at `replaced` (None: there was none)."""

    path: Path
    jobs: int
    db_epoch: int
    replaced: Path | None


class _Past(msgspec.Struct, frozen=True, kw_only=True):
    """The highest numbers that a database, or what lies around it, has seen."""

    db_epoch: int = 0
    supervisor: int = 0
    marks: Marks = Marks()

    def merged(self, other: _Past) -> _Past:
        return _Past(
            db_epoch=max(self.db_epoch, other.db_epoch),
            supervisor=max(self.supervisor, other.supervisor),
            marks=self.marks.merged(other.marks),
        )


def check(path: Path) -> list[str]:
    """Everything that is wrong with the database at `path`, in words; empty when it is whole."""
    try:
        if is_new(path):
            return [f"{path} does not exist"]
        refuse_unsound(path)
        with reading(path) as connection:
            return _problems(connection)
    except DatabaseRefused as error:
        return [error.detail]
    except FAULTS as error:
        return [refused(error, path).detail]


def backup(path: Path, destination: Path, *, force: bool = False) -> Copied:
    """Copy the database at `path` to the one file `destination`, checked and durable; the server may be writing.

    Raises NotFound, InvalidInput (the destination exists, without `force`), DatabaseRefused.
    """
    if not path.is_file():
        raise NotFound(f"there is no database at {path}", path=str(path))
    if destination.exists():
        if destination.samefile(path) or not destination.is_file():
            raise InvalidInput(
                f"{destination} cannot hold a backup of {path}: choose another name", field="destination"
            )
        if not force:
            raise InvalidInput(f"{destination} exists: choose another name, or add --force", field="destination")
    draft = destination.with_name(destination.name + ".part")
    try:
        with _copy(path, draft) as copy:
            identity.put(copy, identity.BACKUP, True)
            _refuse_problems(copy, path)
            (jobs,) = copy.execute("SELECT count(*) FROM queue").fetchone()
            (events,) = copy.execute("SELECT count(*) FROM event").fetchone()
        put_in_place(draft, destination)
        return Copied(path=destination, jobs=jobs, events=events, bytes=destination.stat().st_size)
    except (*FAULTS, OSError) as error:
        raise refused(error, path) from error
    finally:
        draft.unlink(missing_ok=True)


def restore(source: Path, path: Path, *, force: bool = False) -> Restored:
    """Put the backup `source` in the place of the database at `path`; what is there is kept beside it.

    The database epoch grows past all that either has seen, so that no fence is ever handed out twice. Raises NotFound,
    InvalidInput (a whole database is there, without `force`), DatabaseRefused (the backup is damaged or newer, or a
    supervisor has the database).
    """
    if not source.is_file():
        raise NotFound(f"there is no backup at {source}", path=str(source))
    try:
        path = real_place(path)
        refuse_unsound(source)
        lock = SupervisorLock(path)
        try:
            return _restore(source, path, lock, force)
        finally:
            lock.release()
    except (*FAULTS, OSError) as error:
        raise refused(error, source) from error


def _restore(source: Path, path: Path, lock: SupervisorLock, force: bool) -> Restored:
    if path.exists():
        if path.samefile(source):
            raise InvalidInput(f"{source} is the database itself", field="backup")
        if not force and not restoring_path(path).exists() and not _is_damaged(path):
            raise InvalidInput(
                f"{path} is not damaged: a restore puts {source} in its place (and keeps it beside it);"
                " add --force to do so",
                field="force",
            )
    fences = [*run_fences(path.parent), lock.before.db_epoch << 40]
    around = _Past(db_epoch=lock.before.db_epoch, supervisor=lock.before.supervisor, marks=Marks(fence=max(fences)))
    past = _past_of(source).merged(_past_of(path)).merged(around)
    db_epoch = max(past.db_epoch, fence_epoch(past.marks.fence)) + 1
    draft = path.with_name(path.name + ".new")
    with _copy(source, draft) as copy:
        identity.put(copy, identity.EPOCH, db_epoch)
        identity.put(copy, identity.SUPERVISOR, past.supervisor)
        identity.raise_marks(copy, past.marks)
        identity.drop(copy, identity.BACKUP)
        identity.drop(copy, identity.FILE)
        _refuse_problems(copy, source)
        (jobs,) = copy.execute("SELECT count(*) FROM queue").fetchone()
    replaced = _swap(draft, path)
    return Restored(path=path, jobs=jobs, db_epoch=db_epoch, replaced=replaced)


def _swap(draft: Path, path: Path) -> Path | None:
    """Put `draft` in the place of `path`, which moves aside with its log; a crash on the way is seen by a mark."""
    mark = restoring_path(path)
    mark.touch(mode=0o600)
    sync_folder(path.parent)
    aside = _free_name(path)
    # The database and its log keep names that belong together, so that what is kept can still be opened.
    if wal.wal_path(path).exists():
        wal.wal_path(path).rename(wal.wal_path(aside))
    wal.shm_path(path).unlink(missing_ok=True)
    replaced = None
    if path.exists():
        path.rename(aside)
        replaced = aside
    put_in_place(draft, path)
    mark.unlink()
    sync_folder(path.parent)
    return replaced


def _free_name(path: Path) -> Path:
    stem = f"{path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = [stem, *(f"{stem}-{number}" for number in range(2, 1000))]
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


@contextmanager
def _copy(source: Path, draft: Path) -> Iterator[sqlite3.Connection]:
    """A whole copy of the database at `source` as one file `draft`, open for changes."""
    for name in (draft, wal.wal_path(draft), wal.shm_path(draft)):
        name.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    with reading(source) as original, closing(sqlite3.connect(draft, isolation_level=None)) as target:
        # All pages in one step: one state of the database, whatever the server writes meanwhile.
        original.backup(target)
    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        # The copy says WAL in its header, as its source does; a backup is one plain file.
        copy.execute("PRAGMA journal_mode = delete").fetchone()
        yield copy


def _is_damaged(path: Path) -> bool:
    try:
        refuse_unsound(path)
        with reading(path) as connection:
            return bool(_problems(connection))
    except DatabaseRefused as error:
        return bool(error.data.get("damaged"))
    except FAULTS:
        return True


def _past_of(path: Path) -> _Past:
    """What the database at `path` has seen, as far as it can be read."""
    past = _Past()
    if not path.is_file():
        return past
    with suppress(sqlite3.Error, ValueError, TypeError, msgspec.MsgspecError), reading(path) as connection:
        past = _Past(
            db_epoch=identity.get(connection, identity.EPOCH, 0),
            supervisor=identity.get(connection, identity.SUPERVISOR, 0),
        )
        past = past.merged(_Past(marks=identity.high_water(connection)))
    return past


def _problems(connection: sqlite3.Connection) -> list[str]:
    found = [text for (text,) in connection.execute(f"PRAGMA integrity_check({SHOWN})") if text != "ok"]
    if found:
        return found
    for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(SHOWN):
        found.append(f"row {rowid} of {table} belongs to no row of {parent}")
    return [*found, *invariants.broken(connection)]


def _refuse_problems(connection: sqlite3.Connection, path: Path) -> None:
    problems = _problems(connection)
    if problems:
        raise damaged(path, "; ".join(problems[:3]))
