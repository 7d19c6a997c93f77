"""Users have passwords and an end, tokens have scopes and an expiry, and an event names the identity behind it."""

from __future__ import annotations

from typing import Any

STATEMENTS = (
    "ALTER TABLE user ADD COLUMN password_hash TEXT",
    "ALTER TABLE user ADD COLUMN deleted_at TEXT",
    """ALTER TABLE token ADD COLUMN scopes TEXT NOT NULL DEFAULT '["read","submit","admin"]'""",
    "ALTER TABLE token ADD COLUMN expires_at TEXT",
    "ALTER TABLE token ADD COLUMN created_by INTEGER",
    "ALTER TABLE event ADD COLUMN by_user_id INTEGER",
    "ALTER TABLE event ADD COLUMN token_id INTEGER",
    "ALTER TABLE event ADD COLUMN address TEXT NOT NULL DEFAULT ''",
)


def up(migrator: Any, db: Any) -> None:
    for statement in STATEMENTS:
        db.execute_sql(statement)
