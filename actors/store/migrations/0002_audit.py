"""The audit: append-only, never touched by any cleanup. Job stories stay in `event`; here stands all else."""

from __future__ import annotations

from typing import Any

STATEMENTS = (
    """
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        action TEXT NOT NULL,
        user_id INTEGER,
        username TEXT NOT NULL DEFAULT '',
        token_id INTEGER,
        address TEXT NOT NULL DEFAULT '',
        subject TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '{}',
        cause TEXT NOT NULL DEFAULT ''
    )
    """,
    "CREATE INDEX audit_at ON audit (at)",
    """
    CREATE TRIGGER audit_never_changes BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END
    """,
    """
    CREATE TRIGGER audit_never_goes BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END
    """,
)


def up(migrator: Any, db: Any) -> None:
    for statement in STATEMENTS:
        db.execute_sql(statement)
