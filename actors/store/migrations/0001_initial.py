"""The first schema. `queue` is the requirement's table word for word, with our own columns after it.

What a job asked for lies in `job_spec`: it may hold a whole config file, and SQLite rewrites a row as a whole at
each change of its status. Every index costs the hot path a page: those that are here were weighed.
Times are ISO-8601 text (`model.clock.iso`), flags 0 and 1, lists and objects JSON.
"""

from __future__ import annotations

from typing import Any

LIVE = "('assigned', 'starting', 'running', 'stopping')"
TERMINAL = "('completed', 'failed', 'cancelled')"

STATEMENTS = (
    """
    CREATE TABLE queue (
        id INTEGER PRIMARY KEY,
        job_id TEXT UNIQUE NOT NULL,
        user_id INTEGER,
        team_id TEXT,
        provider TEXT DEFAULT 'replicate',
        config_name TEXT,
        priority INTEGER DEFAULT 10,
        priority_override INTEGER,
        status TEXT DEFAULT 'pending',
        position INTEGER DEFAULT 0,
        queued_at TEXT NOT NULL,
        started_at TEXT,
        completed_at TEXT,
        estimated_cost REAL DEFAULT 0.0,
        requires_approval INTEGER DEFAULT 0,
        approval_id INTEGER,
        attempt INTEGER DEFAULT 1,
        max_attempts INTEGER DEFAULT 3,
        error_message TEXT,
        metadata TEXT,
        allocated_gpus TEXT,
        job_type TEXT DEFAULT 'cloud',
        num_processes INTEGER DEFAULT 1,
        name TEXT,
        target TEXT NOT NULL DEFAULT 'auto',
        ranked_at TEXT,
        wait_until TEXT,
        held INTEGER NOT NULL DEFAULT 0,
        cancel_requested INTEGER NOT NULL DEFAULT 0,
        exit_code INTEGER,
        exit_class TEXT,
        cost_usd REAL,
        retry_of TEXT
    )
    """,
    "CREATE INDEX queue_status ON queue (status)",
    "CREATE INDEX queue_user_id ON queue (user_id)",
    """
    CREATE INDEX queue_finished ON queue (completed_at, id, status, user_id, config_name)
    WHERE completed_at IS NOT NULL
    """,
    """
    CREATE TABLE job_spec (
        id INTEGER PRIMARY KEY REFERENCES queue (id) ON DELETE CASCADE,
        spec TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE attempt (
        fence INTEGER PRIMARY KEY,
        job_id TEXT NOT NULL REFERENCES queue (job_id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        phase TEXT NOT NULL,
        host TEXT NOT NULL,
        gpus TEXT NOT NULL,
        assigned_at TEXT NOT NULL,
        started_at TEXT,
        ended_at TEXT,
        pid INTEGER,
        exit_code INTEGER,
        exit_class TEXT,
        error TEXT,
        stop_reason TEXT
    )
    """,
    "CREATE INDEX attempt_job_id ON attempt (job_id)",
    """
    CREATE TABLE gpu_hold (
        fence INTEGER NOT NULL REFERENCES attempt (fence) ON DELETE CASCADE,
        uuid TEXT NOT NULL,
        host TEXT NOT NULL,
        gpu_index INTEGER NOT NULL,
        opened_at TEXT NOT NULL,
        closed_at TEXT,
        PRIMARY KEY (fence, uuid)
    ) WITHOUT ROWID
    """,
    "CREATE UNIQUE INDEX gpu_hold_open ON gpu_hold (host, uuid) WHERE closed_at IS NULL",
    """
    CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        job_id TEXT,
        user_id INTEGER,
        who TEXT NOT NULL DEFAULT '',
        data TEXT NOT NULL DEFAULT '{}',
        cause TEXT NOT NULL DEFAULT ''
    )
    """,
    "CREATE INDEX event_job_id ON event (job_id) WHERE job_id IS NOT NULL",
    """
    CREATE TABLE idempotency (
        user_id INTEGER NOT NULL,
        key TEXT NOT NULL,
        digest TEXT NOT NULL,
        job_ids TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (user_id, key)
    )
    """,
    "CREATE INDEX idempotency_at ON idempotency (at)",
    "CREATE TABLE setting (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
    """
    CREATE TABLE team (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        created_at TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE user (
        id INTEGER PRIMARY KEY,
        username TEXT NOT NULL UNIQUE,
        level TEXT NOT NULL,
        team_id TEXT REFERENCES team (id),
        created_at TEXT NOT NULL,
        disabled_at TEXT
    )
    """,
    """
    CREATE TABLE token (
        id INTEGER PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES user (id),
        name TEXT NOT NULL DEFAULT '',
        digest TEXT NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        last_used_at TEXT,
        revoked_at TEXT
    )
    """,
    "CREATE INDEX token_user_id ON token (user_id)",
    """
    CREATE TABLE approval_rule (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        type TEXT NOT NULL,
        condition TEXT NOT NULL DEFAULT '{}',
        threshold REAL,
        enabled INTEGER NOT NULL DEFAULT 1,
        required_approver_level TEXT NOT NULL DEFAULT 'admin',
        exempt_levels TEXT NOT NULL DEFAULT '[]'
    )
    """,
    f"""
    CREATE TRIGGER queue_terminal BEFORE UPDATE OF status ON queue
    WHEN OLD.status IN {TERMINAL} AND NEW.status IS NOT OLD.status
    BEGIN SELECT RAISE(ABORT, 'a terminal status never changes'); END
    """,
    f"""
    CREATE TRIGGER queue_active_stays BEFORE DELETE ON queue
    WHEN OLD.status IS NULL OR OLD.status NOT IN {TERMINAL}
    BEGIN SELECT RAISE(ABORT, 'an active job is never deleted'); END
    """,
    f"""
    CREATE TRIGGER attempt_one_live BEFORE INSERT ON attempt
    WHEN NEW.phase IN {LIVE} AND EXISTS (SELECT 1 FROM attempt WHERE job_id = NEW.job_id AND phase IN {LIVE})
    BEGIN SELECT RAISE(ABORT, 'the job has a live attempt already'); END
    """,
    f"""
    CREATE TRIGGER attempt_terminal BEFORE UPDATE OF phase ON attempt
    WHEN OLD.phase NOT IN {LIVE} AND NEW.phase IS NOT OLD.phase
    BEGIN SELECT RAISE(ABORT, 'a terminal phase never changes'); END
    """,
    """
    CREATE TRIGGER event_never_replaced BEFORE INSERT ON event
    WHEN EXISTS (SELECT 1 FROM event WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
    """,
    """
    CREATE TRIGGER event_never_changes BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
    """,
    """
    CREATE TRIGGER event_never_goes BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
    """,
)


def up(migrator: Any, db: Any) -> None:
    for statement in STATEMENTS:
        db.execute_sql(statement)
