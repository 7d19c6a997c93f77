"""May this file be opened? Everything that would lose or hide jobs is refused, with the cure named.

Nothing here changes the database: a refused one stays as it was, for whoever wants to save more of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gpuyard.actors.model.errors import DatabaseRefused
from gpuyard.actors.store import wal
from gpuyard.actors.store.faults import CURE, FAULTS, damaged, refused
from gpuyard.actors.store.schema import MIGRATIONS, differences, refuse_foreign

MAGIC: Final = b"SQLite format 3\0"
# Byte 18 of a database whose changes do not go to a log: a backup, or one that was never opened.
ROLLBACK_MODE: Final = b"\1"


def restoring_path(path: Path) -> Path:
    """A mark that a restore has begun to swap files and not ended."""
    return path.with_name(path.name + ".restoring")


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, not even by closing."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5.0)
    connection.execute("PRAGMA query_only = 1")
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect_read_only(path)
    try:
        yield connection
    finally:
        connection.close()


def run_fences(folder: Path) -> list[int]:
    """The fences that have a folder in `folder`/runs."""
    runs = folder / "runs"
    names = [entry.name for entry in runs.iterdir()] if runs.is_dir() else []
    return [int(name) for name in names if name.isdecimal() and len(name) < 19]


def is_new(path: Path) -> bool:
    """No database is there, and none is missing. Raises DatabaseRefused where one must have been."""
    if restoring_path(path).exists():
        raise DatabaseRefused(
            f"a restore of {path} was interrupted: repeat it: gpuyard db restore BACKUP", path=str(path)
        )
    if path.exists():
        return False
    if path.is_symlink():
        raise DatabaseRefused(f"{path} is a link to a file that is missing: bring it back, or {CURE}", path=str(path))
    if wal.has_content(path):
        raise DatabaseRefused(
            f"{path} is missing, but its write-ahead log is there: bring the file back, or {CURE}", path=str(path)
        )
    fences = run_fences(path.parent)
    if fences:
        raise DatabaseRefused(
            f"{path} is missing, but {path.parent / 'runs'} holds {len(fences)} runs: bring the file back, or {CURE};"
            " to begin anew, move the folder runs away",
            path=str(path),
        )
    return True


def refuse_unsound(path: Path, migrations: Path = MIGRATIONS) -> None:
    """Raise DatabaseRefused unless the database at `path` is whole, ours and not newer than this program."""
    try:
        _refuse_wrong_file(path)
        # Twice: a server that runs may be writing just this header.
        if wal.header_is_bad(path) and wal.header_is_bad(path):
            raise damaged(path, "the header of its write-ahead log is broken")
        with reading(path) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            _refuse_broken_log(path)
            refuse_foreign(connection, path, migrations)
            problems = [text for (text,) in connection.execute("PRAGMA quick_check(5)")]
            changed = differences(connection, migrations)
    except (*FAULTS, OSError) as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_ERROR":
            # Questions this plain fail only on a file that is not what it was.
            raise damaged(path, str(error)) from error
        raise refused(error, path) from error
    if problems != ["ok"]:
        raise damaged(path, "; ".join(problems).replace("\n", " ")[:500])
    if changed:
        raise damaged(path, f"its schema was changed ({', '.join(changed)[:200]})")


def _refuse_wrong_file(path: Path) -> None:
    if not path.is_file():
        raise DatabaseRefused(f"{path} is not a file: take another --data-dir", path=str(path))
    with path.open("rb") as file:
        head = file.read(20)
    if not head:
        raise DatabaseRefused(
            f"{path} is empty (0 bytes), which a database never is: {CURE}; to begin anew, delete the file",
            path=str(path),
            damaged=True,
        )
    if head[: len(MAGIC)] != MAGIC:
        raise damaged(path, "it is not a SQLite database")
    if head[18:19] == ROLLBACK_MODE and wal.has_content(path):
        # SQLite would read the log of the old file into the new one.
        raise DatabaseRefused(
            f"{path} was replaced by hand, and {wal.wal_path(path).name} belongs to the file before it: use"
            " gpuyard db restore BACKUP, which keeps both apart",
            path=str(path),
            damaged=True,
        )


def _refuse_broken_log(path: Path) -> None:
    if not wal.has_content(path) or not wal.shm_path(path).exists():
        return
    frames = wal.recovered_frames(path)
    lost = wal.commits_after(path, frames)
    # Unless a server that runs has committed meanwhile.
    if lost > 1 and wal.recovered_frames(path) == frames:
        raise damaged(path, f"its write-ahead log is broken before {lost} commits")
