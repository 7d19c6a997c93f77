"""The rules of the queue: approvals and their rules in order, who has been let in, and what people used.

`approval` and `usage` outlive their jobs: no cleanup touches them. `usage` holds sums a UTC day, user, team and place;
`submitter` the users of whom a job was ever let into the queue. What there was before is taken over.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

STATEMENTS = (
    "ALTER TABLE approval_rule ADD COLUMN precedence INTEGER NOT NULL DEFAULT 0",
    """
    CREATE TABLE approval (
        id INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL UNIQUE,
        user_id INTEGER,
        config_name TEXT,
        estimated_cost REAL NOT NULL DEFAULT 0.0,
        status TEXT NOT NULL DEFAULT 'pending',
        requested_at TEXT NOT NULL,
        reason TEXT NOT NULL DEFAULT '',
        rule_id INTEGER,
        rule_name TEXT,
        required_approver_level TEXT NOT NULL DEFAULT 'admin',
        decided_by TEXT,
        decided_at TEXT,
        decision_reason TEXT
    )
    """,
    "CREATE INDEX approval_status ON approval (status, id)",
    """
    CREATE TRIGGER approval_decided BEFORE UPDATE OF status ON approval
    WHEN OLD.status IS NOT 'pending' AND NEW.status IS NOT OLD.status
    BEGIN SELECT RAISE(ABORT, 'a decision never changes'); END
    """,
    """
    CREATE TRIGGER approval_never_goes BEFORE DELETE ON approval
    BEGIN SELECT RAISE(ABORT, 'approvals are kept'); END
    """,
    "CREATE TABLE submitter (user_id INTEGER NOT NULL PRIMARY KEY, first_at TEXT NOT NULL)",
    """
    CREATE TABLE usage (
        day TEXT NOT NULL,
        user_id INTEGER NOT NULL,
        team_id TEXT NOT NULL DEFAULT '',
        place TEXT NOT NULL,
        runs INTEGER NOT NULL DEFAULT 0,
        run_ms INTEGER NOT NULL DEFAULT 0,
        gpu_ms INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (day, user_id, team_id, place)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX event_submitted ON event (at, user_id) WHERE kind = 'job_submitted'",
    """
    INSERT INTO approval (id, job_id, user_id, config_name, estimated_cost, requested_at, reason)
    SELECT coalesce(approval_id, id), job_id, user_id, config_name, coalesce(estimated_cost, 0.0), queued_at,
        'Its author asked for an approval.'
    FROM queue WHERE status = 'blocked'
    """,
    "UPDATE queue SET approval_id = id WHERE status = 'blocked' AND approval_id IS NULL",
    """
    INSERT INTO submitter (user_id, first_at)
    SELECT user_id, min(queued_at) FROM queue
    WHERE user_id IS NOT NULL AND status <> 'blocked' AND coalesce(exit_class, '') <> 'rejected'
        AND NOT (requires_approval AND status = 'cancelled' AND started_at IS NULL)
    GROUP BY user_id
    """,
)

ENDED = """
    SELECT q.user_id, coalesce(q.team_id, ''), coalesce(q.num_processes, 0), a.host, a.started_at, a.ended_at
    FROM attempt a JOIN queue q ON q.job_id = a.job_id
    WHERE a.ended_at IS NOT NULL AND q.user_id IS NOT NULL
"""


def up(migrator: Any, db: Any) -> None:
    for statement in STATEMENTS:
        db.execute_sql(statement)
    sums: dict[tuple[str, int, str, str], Counter[str]] = {}
    for user_id, team, gpus, host, started, ended in db.execute_sql(ENDED).fetchall():
        place = "local" if host == "local" else "cloud" if host.startswith("cloud:") else "worker"
        parts = dict(days(started, ended)) if started is not None else {}
        for day in {*parts, ended[:10]}:
            found = sums.setdefault((day, user_id, team, place), Counter())
            milliseconds = parts.get(day, 0)
            found.update(runs=int(day == ended[:10]), run_ms=milliseconds, gpu_ms=milliseconds * gpus)
    for (day, user_id, team, place), found in sorted(sums.items()):
        values = (day, user_id, team, place, found["runs"], found["run_ms"], found["gpu_ms"])
        db.execute_sql("INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def days(started: str, ended: str) -> list[tuple[str, int]]:
    """(UTC day, milliseconds) of the time between two moments as they are stored."""
    at, end = datetime.fromisoformat(started), datetime.fromisoformat(ended)
    found = []
    while at < end:
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        found.append((at.strftime("%Y-%m-%d"), round((min(midnight, end) - at) / timedelta(milliseconds=1))))
        at = midnight
    return found
