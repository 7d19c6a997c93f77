"""Who a database is, and the numbers it has handed out: the store's own rows of `setting`.

store.id          a random id for life, the same in every copy
store.epoch       raised whenever an older state takes the place of a newer one: the upper bits of all fences
store.supervisor  raised at each open by a supervisor; each write checks that it is still ours
store.file        the inode that the last supervisor had open: another one means that the file is a copy
store.backup      true in a backup file until it is restored
store.trial       there for a moment only: after a failure it is tried whether the database can be written
store.marks       the highest numbers of deleted rows, so that no number is ever used twice
"""

from __future__ import annotations

import sqlite3
import uuid
from typing import Any, Final

import msgspec

from gpuyard.actors.model.ids import FENCE_BITS, fence_epoch
from gpuyard.actors.store.columns import from_json, to_json

OWN_PREFIX: Final = "store."
ID: Final = "store.id"
EPOCH: Final = "store.epoch"
SUPERVISOR: Final = "store.supervisor"
FILE: Final = "store.file"
BACKUP: Final = "store.backup"
TRIAL: Final = "store.trial"
MARKS: Final = "store.marks"

READ: Final = "SELECT value FROM setting WHERE key = ?"


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """The highest numbers ever used; `fence` is a whole fence, epoch included."""

    job: int = 0
    seq: int = 0
    event: int = 0
    fence: int = 0

    def merged(self, other: Marks) -> Marks:
        return Marks(
            job=max(self.job, other.job),
            seq=max(self.seq, other.seq),
            event=max(self.event, other.event),
            fence=max(self.fence, other.fence),
        )

    def next_fence(self, db_epoch: int) -> int:
        """The smallest unused `n` of `ids.make_fence(db_epoch, n)`."""
        return (self.fence & ((1 << FENCE_BITS) - 1)) + 1 if fence_epoch(self.fence) == db_epoch else 1


def get(connection: sqlite3.Connection, key: str, default: Any = None) -> Any:
    row = connection.execute(READ, (key,)).fetchone()
    return default if row is None else from_json(row[0])


def put(connection: sqlite3.Connection, key: str, value: Any) -> None:
    connection.execute("INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)", (key, to_json(value)))


def drop(connection: sqlite3.Connection, key: str) -> None:
    connection.execute("DELETE FROM setting WHERE key = ?", (key,))


def found(connection: sqlite3.Connection) -> None:
    """Give a new database its identity."""
    put(connection, ID, uuid.uuid4().hex)
    put(connection, EPOCH, 1)
    put(connection, SUPERVISOR, 0)


def stored_marks(connection: sqlite3.Connection) -> Marks:
    return Marks(**get(connection, MARKS, {}))


def raise_marks(connection: sqlite3.Connection, marks: Marks) -> None:
    """Never hand out a number up to `marks` again."""
    before = stored_marks(connection)
    after = before.merged(marks)
    if after != before:
        put(connection, MARKS, after)


def high_water(connection: sqlite3.Connection) -> Marks:
    """The highest numbers ever used: of the rows that are there and of those that are gone."""
    job, seq = connection.execute("SELECT max(id), max(position) FROM queue").fetchone()
    (event,) = connection.execute("SELECT max(id) FROM event").fetchone()
    (fence,) = connection.execute("SELECT max(fence) FROM attempt").fetchone()
    rows = Marks(job=job or 0, seq=seq or 0, event=event or 0, fence=fence or 0)
    return rows.merged(stored_marks(connection))
