"""Cloud providers: whether they may take jobs, and where their circuits stand, so that both outlive a restart.

A provider without a row is enabled and its circuit closed. Times are epoch seconds.
"""

from __future__ import annotations

from typing import Any

STATEMENTS = (
    """
    CREATE TABLE provider (
        name TEXT NOT NULL PRIMARY KEY,
        enabled INTEGER NOT NULL DEFAULT 1,
        circuit TEXT NOT NULL DEFAULT 'closed',
        failures INTEGER NOT NULL DEFAULT 0,
        why TEXT NOT NULL DEFAULT '',
        opened_at REAL,
        retry_at REAL NOT NULL DEFAULT 0.0,
        pause REAL NOT NULL DEFAULT 0.0
    )
    """,
)


def up(migrator: Any, db: Any) -> None:
    for statement in STATEMENTS:
        db.execute_sql(statement)
