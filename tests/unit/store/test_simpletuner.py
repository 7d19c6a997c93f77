"""A SimpleTuner queue, in the requirement's own schema, becomes history; it is read and never touched."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gpuyard.actors.model.errors import DatabaseRefused, InvalidInput, NotFound
from gpuyard.actors.store import admin, simpletuner
from gpuyard.actors.store.database import Database

SCHEMA = """CREATE TABLE queue (
    id INTEGER PRIMARY KEY, job_id TEXT UNIQUE NOT NULL, user_id INTEGER, team_id TEXT,
    provider TEXT DEFAULT 'replicate', config_name TEXT, priority INTEGER DEFAULT 10, priority_override INTEGER,
    status TEXT DEFAULT 'pending', position INTEGER DEFAULT 0, queued_at TEXT NOT NULL, started_at TEXT,
    completed_at TEXT, estimated_cost REAL DEFAULT 0.0, requires_approval INTEGER DEFAULT 0, approval_id INTEGER,
    attempt INTEGER DEFAULT 1, max_attempts INTEGER DEFAULT 3, error_message TEXT, metadata TEXT,
    allocated_gpus TEXT, job_type TEXT DEFAULT 'cloud', num_processes INTEGER DEFAULT 1)"""
ROWS = [
    ("abc123", "completed", "2026-01-02T03:04:05+00:00", '{"run_name": "lora"}', "local", 2),
    ("def456", "failed", "2026-01-02T03:05:05", None, "cloud", 1),
    ("run789", "running", "2026-01-02T03:06:05", None, "local", 1),
    ("odd000", "completed", "yesterday", None, "local", 1),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "simpletuner.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(SCHEMA)
        connection.executemany(
            "INSERT INTO queue (job_id, status, queued_at, metadata, job_type, num_processes)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            ROWS,
        )
    return path


def test_ended_jobs_become_history_and_a_repeat_takes_nothing_twice(source: Path, tmp_path: Path) -> None:
    before, path = source.read_bytes(), tmp_path / "jobs.db"
    done = simpletuner.import_from(source, path)
    assert (done.jobs, done.known, done.active, done.odd) == (2, 0, 1, 1)
    again = simpletuner.import_from(source, path)
    assert (again.jobs, again.known, again.active, again.odd) == (0, 2, 1, 1)
    assert source.read_bytes() == before
    assert admin.check(path) == []
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT job_id, status, job_type, num_processes, metadata FROM queue ORDER BY id")
        found = [tuple(row) for row in rows]
    assert [row[:4] for row in found] == [("abc123", "completed", "local", 2), ("def456", "failed", "cloud", 1)]
    assert re.search('"run_name": ?"lora"', found[0][4])


def test_it_goes_on_with_the_numbers_of_the_database(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    simpletuner.import_from(source, path)
    database = Database.open(path)
    try:
        snapshot = database.snapshot(0.0)
    finally:
        database.close()
    assert (snapshot.next_job, snapshot.next_seq) == (3, 3) and not snapshot.jobs
    assert snapshot.counts == {"completed": 1, "failed": 1}


def test_what_is_no_simpletuner_queue_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        simpletuner.import_from(tmp_path / "missing.db", tmp_path / "jobs.db")
    text = tmp_path / "text.db"
    text.write_text("not a database at all, only words\n" * 100)
    with pytest.raises(InvalidInput):
        simpletuner.import_from(text, tmp_path / "jobs.db")
    assert not (tmp_path / "jobs.db").exists(), "a refusal changes nothing"


def test_a_running_server_is_not_disturbed(source: Path, tmp_path: Path) -> None:
    database = Database.open(tmp_path / "jobs.db")
    try:
        with pytest.raises(DatabaseRefused):
            simpletuner.import_from(source, tmp_path / "jobs.db")
    finally:
        database.close()
