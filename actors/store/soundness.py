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
from gpuyard.actors.store.faults import CURE, damaged, is_damage, refused
from gpuyard.actors.store.schema import MIGRATIONS, refuse_foreign

MAGIC: Final = b"SQLite format 3\0"


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
        if wal.header_is_bad(path):
            raise damaged(path, "the header of its write-ahead log is broken")
        with reading(path) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            _refuse_broken_log(path)
            refuse_foreign(connection, path, migrations)
            problems = [text for (text,) in connection.execute("PRAGMA quick_check(5)")]
    except sqlite3.Error as error:
        if is_damage(error):
            raise damaged(path, str(error)) from error
        raise refused(error, path) from error
    except OSError as error:
        raise refused(error, path) from error
    if problems != ["ok"]:
        raise damaged(path, "; ".join(problems).replace("\n", " ")[:500])


def _refuse_wrong_file(path: Path) -> None:
    if not path.is_file():
        raise DatabaseRefused(f"{path} is not a file: take another --data-dir", path=str(path))
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    if not head:
        raise DatabaseRefused(
            f"{path} is empty (0 bytes), which a database never is: {CURE}; to begin anew, delete the file",
            path=str(path),
        )
    if head != MAGIC:
        raise damaged(path, "it is not a SQLite database")


def _refuse_broken_log(path: Path) -> None:
    if not wal.has_content(path) or not wal.shm_path(path).exists():
        return
    lost = wal.commits_after(path, wal.recovered_frames(path))
    if lost > 1:
        raise damaged(path, f"its write-ahead log is broken before {lost} commits")
