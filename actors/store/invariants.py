"""What must be true of the rows of every database, whatever happened to the server: read by `admin.check`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from gpuyard.actors.store import identity
from gpuyard.actors.store.columns import ATTEMPT_COLUMNS, JOB_READ, attempt_from, job_from
from gpuyard.actors.store.tables import LIVE_PHASES, TERMINAL_STATUSES

SHOWN: Final = 5

# What `clock.iso` writes.
TIME: Final = "[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9]Z"

# What ends a job's story, and what must not come after it.
ENDS: Final = "('job_completed', 'job_failed', 'job_cancelled', 'job_rejected', 'approval_expired')"
GOES_ON: Final = f"('job_approved', 'job_assigned', 'job_started', 'job_stopping', 'job_requeued', {ENDS[1:]}"

# A sentence, and the query of the rows that break it.
RULES: Final = (
    (
        "job {} has more than one live attempt",
        f"SELECT job_id FROM attempt WHERE phase IN {LIVE_PHASES} GROUP BY job_id HAVING count(*) > 1",
    ),
    (
        "GPU {} has more than one open hold",
        "SELECT host || ' ' || uuid FROM gpu_hold NOT INDEXED WHERE closed_at IS NULL GROUP BY host, uuid"
        " HAVING count(*) > 1",
    ),
    (
        "job {} is running without a live attempt",
        "SELECT job_id FROM queue WHERE status = 'running' AND job_id NOT IN"
        f" (SELECT job_id FROM attempt WHERE phase IN {LIVE_PHASES})",
    ),
    (
        "attempt {} is live, but its job is not running",
        "SELECT a.fence FROM attempt a JOIN queue q ON q.job_id = a.job_id"
        f" WHERE a.phase IN {LIVE_PHASES} AND q.status <> 'running'",
    ),
    (
        "a hold of fence {} has no attempt",
        "SELECT fence FROM gpu_hold WHERE fence NOT IN (SELECT fence FROM attempt)",
    ),
    (
        "job {} has ended without a time of its end",
        f"SELECT job_id FROM queue WHERE status IN {TERMINAL_STATUSES} AND completed_at IS NULL",
    ),
    (
        "job {} has a time of its end, but has not ended",
        f"SELECT job_id FROM queue WHERE status NOT IN {TERMINAL_STATUSES} AND completed_at IS NOT NULL",
    ),
    (
        "two waiting jobs share the place {} in the queue",
        f"SELECT position FROM queue WHERE status NOT IN {TERMINAL_STATUSES} GROUP BY position HAVING count(*) > 1",
    ),
    (
        "job {} went on after its end",
        f"SELECT job_id FROM event WHERE kind IN {GOES_ON} GROUP BY job_id"
        f" HAVING max(id) > min(CASE WHEN kind IN {ENDS} THEN id END)",
    ),
    (
        "job {} has ended by its story, but has not",
        f"SELECT job_id FROM queue WHERE status NOT IN {TERMINAL_STATUSES} AND job_id IN"
        f" (SELECT job_id FROM event WHERE kind IN {ENDS})",
    ),
    ("job {} has lost what it asked for", "SELECT job_id FROM queue WHERE id NOT IN (SELECT id FROM job_spec)"),
    (
        "job {} has metadata that is no JSON",
        "SELECT job_id FROM queue WHERE metadata IS NOT NULL AND NOT json_valid(metadata)",
    ),
    (
        "job {} has GPUs that are no JSON",
        "SELECT job_id FROM queue WHERE allocated_gpus IS NOT NULL AND NOT json_valid(allocated_gpus)",
    ),
    ("event {} holds no JSON", "SELECT id FROM event WHERE NOT json_valid(data)"),
    ("event {} has no time", f"SELECT id FROM event WHERE at NOT GLOB '{TIME}'"),
    ("setting {} holds no JSON", "SELECT key FROM setting WHERE NOT json_valid(value)"),
    (
        "setting {} is missing",
        f"SELECT name FROM (SELECT '{identity.ID}' AS name UNION SELECT '{identity.EPOCH}'"
        f" UNION SELECT '{identity.SUPERVISOR}') WHERE name NOT IN (SELECT key FROM setting)",
    ),
)

# Rules about tables that a database of an earlier release does not have.
LATER: Final = {
    "approval": (
        (
            "job {} is blocked, but no approval waits for it",
            "SELECT job_id FROM queue WHERE status = 'blocked' AND job_id NOT IN"
            " (SELECT job_id FROM approval WHERE status = 'pending')",
        ),
        (
            "approval {} waits for a job that is not blocked",
            "SELECT id FROM approval WHERE status = 'pending' AND job_id NOT IN"
            " (SELECT job_id FROM queue WHERE status = 'blocked')",
        ),
    )
}


def broken(connection: sqlite3.Connection) -> Iterator[str]:
    """One sentence for each row that breaks a rule; at most a few for each rule."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for sentence, query in (*RULES, *(rule for table in LATER if table in tables for rule in LATER[table])):
        for (offender,) in connection.execute(f"{query} LIMIT {SHOWN}"):
            yield sentence.format(offender)
    fields = ", ".join(f"q.{column}" for column in JOB_READ)
    yield from _unreadable(
        connection, "job", f"SELECT q.job_id, {fields}, s.spec FROM queue q JOIN job_spec s ON s.id = q.id", job_from
    )
    yield from _unreadable(
        connection, "attempt", f"SELECT fence, {', '.join(ATTEMPT_COLUMNS)} FROM attempt", attempt_from
    )


def _unreadable(
    connection: sqlite3.Connection, what: str, query: str, read: Callable[[tuple[Any, ...]], object]
) -> Iterator[str]:
    shown = 0
    for name, *row in connection.execute(query):
        try:
            read(tuple(row))
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            yield f"{what} {name} cannot be read: {error}"
            shown += 1
            if shown == SHOWN:
                return
