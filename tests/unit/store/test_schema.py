"""The schema is the requirement's; models and migrations agree; a released migration stays as it is."""

from __future__ import annotations

import sqlite3

from peewee import SqliteDatabase
from playhouse.schema_diff import diff_models

from gpuyard.actors.model.attempt import LIVE
from gpuyard.actors.model.job import TERMINAL
from gpuyard.actors.store import tables
from gpuyard.actors.store.schema import applied, known, migrate
from tests.unit.store.scratch import scratch

# The requirement's "Database Schema": name, type, not null, default.
REQUIRED = [
    ("id", "INTEGER", 0, None),
    ("job_id", "TEXT", 1, None),
    ("user_id", "INTEGER", 0, None),
    ("team_id", "TEXT", 0, None),
    ("provider", "TEXT", 0, "'replicate'"),
    ("config_name", "TEXT", 0, None),
    ("priority", "INTEGER", 0, "10"),
    ("priority_override", "INTEGER", 0, None),
    ("status", "TEXT", 0, "'pending'"),
    ("position", "INTEGER", 0, "0"),
    ("queued_at", "TEXT", 1, None),
    ("started_at", "TEXT", 0, None),
    ("completed_at", "TEXT", 0, None),
    ("estimated_cost", "REAL", 0, "0.0"),
    ("requires_approval", "INTEGER", 0, "0"),
    ("approval_id", "INTEGER", 0, None),
    ("attempt", "INTEGER", 0, "1"),
    ("max_attempts", "INTEGER", 0, "3"),
    ("error_message", "TEXT", 0, None),
    ("metadata", "TEXT", 0, None),
    ("allocated_gpus", "TEXT", 0, None),
    ("job_type", "TEXT", 0, "'cloud'"),
    ("num_processes", "INTEGER", 0, "1"),
]


def test_the_queue_begins_with_the_requirements_columns() -> None:
    with scratch() as db:
        columns = [
            (name, kind, notnull, default)
            for _, name, kind, notnull, default, _ in db.execute("PRAGMA table_info(queue)")
        ]
        assert columns[: len(REQUIRED)] == REQUIRED
        unique = [row[1] for row in db.execute("PRAGMA index_list(queue)") if row[2]]
        assert [db.execute(f"PRAGMA index_info({name})").fetchall()[0][2] for name in unique] == ["job_id"]


def test_an_insert_of_the_requirement_works_as_it_stands() -> None:
    with scratch() as db:
        db.execute("INSERT INTO queue (job_id, queued_at) VALUES ('abc', '2026-01-01T00:00:00Z')")
        row = db.execute(
            "SELECT id, provider, priority, status, position, job_type, num_processes FROM queue"
        ).fetchone()
        assert row == (1, "replicate", 10, "pending", 0, "cloud", 1)


def test_models_say_what_the_migrations_built() -> None:
    database = SqliteDatabase(":memory:", autoconnect=False)
    database.connect()
    assert migrate(database) == sorted(known())
    assert migrate(database) == []
    difference = diff_models(database, tables.ALL)
    database.close()
    assert (difference.create_tables, difference.add_columns, difference.drop_columns) == ([], [], [])
    assert difference.drop_indexes == []
    # A UNIQUE in the table itself has no index that the comparison could see.
    uniques = {(index.table, *index.columns) for index in difference.add_indexes if index.unique and index.columns}
    assert uniques == {("queue", "job_id"), ("user", "username"), ("token", "digest"), ("approval", "job_id")}
    assert len(difference.add_indexes) == len(uniques)


def test_every_table_has_its_model() -> None:
    with scratch() as db:
        found = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert found - {"schema_migration"} == {model._meta.table_name for model in tables.ALL}


def test_the_words_for_states_are_those_of_the_model() -> None:
    assert set(tables.LIVE_PHASES) == {str(phase) for phase in LIVE}
    assert set(tables.TERMINAL_STATUSES) == {str(status) for status in TERMINAL}


def test_migrations_are_numbered_one_by_one() -> None:
    names = sorted(known())
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_a_database_without_steps_has_had_none() -> None:
    connection = sqlite3.connect(":memory:")
    assert applied(connection) == set()
    connection.close()
    with scratch() as db:
        assert applied(db) == known()


def test_hot_lookups_use_an_index() -> None:
    with scratch() as db:
        for sql in (
            "UPDATE queue SET held = 1 WHERE job_id = 'x' AND status = 'pending'",
            "UPDATE attempt SET pid = 1 WHERE fence = 1 AND phase IN ('running')",
            "UPDATE gpu_hold SET closed_at = 'x' WHERE fence = 1 AND closed_at IS NULL",
            "SELECT 1 FROM attempt WHERE job_id = 'x'",
            "SELECT 1 FROM event WHERE job_id = 'x' AND id > 3 ORDER BY id",
            "DELETE FROM idempotency WHERE at < 'x'",
            "SELECT fence FROM gpu_hold WHERE closed_at IS NULL",
        ):
            plan = " ".join(row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}"))
            assert "INDEX" in plan or "PRIMARY KEY" in plan, (sql, plan)
