"""Registers: small tables that one actor owns whole, in its memory (users, tokens, workers, providers …).

Their owner changes its memory only once the store has the rows (`Record`), and reads them once at its start
(`LoadRegisters`). Jobs, attempts and holds are not registers: they change only by the Scheduler's commits.
"""

from __future__ import annotations

from typing import Any

import msgspec


class PutRecord(msgspec.Struct, frozen=True, tag=True):
    """Insert the row, or replace the columns in `values` of the row that has the same key.

    `values` are column → value; booleans, lists and objects are stored as JSON fitting the column, times as given.
    """

    register: str
    values: dict[str, Any]


class DropRecord(msgspec.Struct, frozen=True, tag=True):
    """Delete the rows that match all of `where`; harmless when there are none."""

    register: str
    where: dict[str, Any]


class AppendAudit(msgspec.Struct, frozen=True, tag=True):
    """One line of the append-only audit: what an administrator or owner did that is no job's event.

    `at` is epoch seconds; the store gives the number.
    """

    at: float
    action: str
    user_id: int | None = None
    username: str = ""
    token_id: int | None = None
    address: str = ""
    subject: str = ""
    detail: dict[str, Any] = {}
    cause: str = ""


RecordRow = PutRecord | DropRecord | AppendAudit
