"""Workers: who they are, their keys and labels, whether they are drained, and which life of each was admitted last.

Times are epoch seconds; `labels` is a JSON object, `keys`, `stranded` and `clones` are JSON arrays
(`model/fleet/record.py`).
"""

from __future__ import annotations

from typing import Any

STATEMENTS = (
    """
    CREATE TABLE worker (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        "order" INTEGER NOT NULL,
        created_at REAL NOT NULL,
        ephemeral INTEGER NOT NULL DEFAULT 0,
        labels TEXT NOT NULL DEFAULT '{}',
        keys TEXT NOT NULL DEFAULT '[]',
        drained INTEGER NOT NULL DEFAULT 0,
        spent INTEGER NOT NULL DEFAULT 0,
        incarnation TEXT NOT NULL DEFAULT '',
        journal TEXT NOT NULL DEFAULT '',
        life INTEGER NOT NULL DEFAULT 0,
        stranded TEXT NOT NULL DEFAULT '[]',
        clones TEXT NOT NULL DEFAULT '[]',
        connected_at REAL,
        heard_at REAL,
        offline_since REAL
    )
    """,
    "CREATE UNIQUE INDEX worker_name ON worker (name)",
)


def up(migrator: Any, db: Any) -> None:
    for statement in STATEMENTS:
        db.execute_sql(statement)
