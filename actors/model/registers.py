"""Registers: small tables that one actor owns whole, in its memory (users, tokens, workers, providers …).

Their owner changes its memory only once the store has the rows (`Record`), and reads them once at its start
(`LoadRegisters`). Jobs, attempts and holds are not registers: they change only by the Scheduler's commits.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gpuyard.actors.model.people import Viewer


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


def audit_line(by: Viewer, at: float, action: str, subject: str = "", cause: str = "", **detail: Any) -> AppendAudit:
    """What `by` did, as a line of the audit. `subject` is what it was done to, `detail` never holds a secret."""
    return AppendAudit(
        at=at,
        action=action,
        user_id=by.user_id,
        username=by.username,
        token_id=by.token_id,
        address=by.address,
        subject=subject,
        detail=detail,
        cause=cause,
    )


RecordRow = PutRecord | DropRecord | AppendAudit
