"""Webhooks: where people want to be told of jobs, and the messages that wait to be taken.

Times are epoch seconds; `events` is a JSON array, `body` the JSON text that is sent (`model/webhooks/records.py`).
"""

from __future__ import annotations

from typing import Any

STATEMENTS = (
    """
    CREATE TABLE webhook (
        id TEXT NOT NULL PRIMARY KEY,
        owner INTEGER NOT NULL,
        url TEXT NOT NULL,
        events TEXT NOT NULL DEFAULT '[]',
        scope TEXT NOT NULL DEFAULT 'own',
        cursor INTEGER NOT NULL DEFAULT 0,
        created_at REAL NOT NULL,
        created_by TEXT NOT NULL DEFAULT '',
        enabled INTEGER NOT NULL DEFAULT 1,
        why TEXT NOT NULL DEFAULT '',
        failing_since REAL,
        delivered_at REAL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE webhook_delivery (
        id TEXT NOT NULL PRIMARY KEY,
        webhook_id TEXT NOT NULL,
        event_id INTEGER NOT NULL,
        type TEXT NOT NULL,
        body TEXT NOT NULL,
        created_at REAL NOT NULL,
        next_at REAL NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending',
        attempts INTEGER NOT NULL DEFAULT 0,
        ended_at REAL,
        status INTEGER,
        why TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID
    """,
)


def up(migrator: Any, db: Any) -> None:
    for statement in STATEMENTS:
        db.execute_sql(statement)
