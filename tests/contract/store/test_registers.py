"""Registers: rows that their owners put, drop and read whole; an audit that nobody changes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.model.commands import LoadRegisters, Record
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.registers import AppendAudit, DropRecord, PutRecord, RecordRow
from tests.support_store import T0, bench

ANNA: dict[str, Any] = {"id": 1, "username": "anna", "level": "admin", "created_at": "2026-01-01T00:00:00Z"}


def test_rows_are_put_replaced_dropped_and_read_by_key(tmp_path: Path) -> None:
    with bench(tmp_path / "jobs.db") as one:
        store = one.store

        def ask(*rows: RecordRow) -> Any:
            return store.ask(Record(rows=rows)).result(10)

        ben = {**ANNA, "id": 2, "username": "ben", "level": "viewer"}
        assert ask(PutRecord("user", ben), PutRecord("user", ANNA)) is True
        ask(PutRecord("user", {**ANNA, "level": "lead"}))
        found = store.ask(LoadRegisters(registers=("user", "team"))).result(10)
        assert [(row["username"], row["level"]) for row in found["user"]] == [("anna", "lead"), ("ben", "viewer")]
        assert found["team"] == []
        ask(DropRecord("user", {"id": 1}))
        left = store.ask(LoadRegisters(registers=("user",))).result(10)["user"]
        assert [row["username"] for row in left] == ["ben"]


@pytest.mark.parametrize(
    "row",
    [
        PutRecord("queue", {"id": 1}),
        PutRecord("user", {"id": 1, "shoe_size": 41}),
        PutRecord("user", {**ANNA, "id": 7}),
        DropRecord("user", {}),
        DropRecord("user", {"1 = 1; --": 1}),
    ],
    ids=["no register", "no column", "a name that is taken", "everything", "no column, but SQL"],
)
def test_what_does_not_fit_changes_nothing(tmp_path: Path, row: RecordRow) -> None:
    with bench(tmp_path / "jobs.db") as one:
        store = one.store
        store.ask(Record(rows=(PutRecord("user", ANNA),))).result(10)
        with pytest.raises(InvalidInput):
            store.ask(Record(rows=(PutRecord("user", {**ANNA, "level": "viewer"}), row))).result(10)
        assert store.ask(LoadRegisters(registers=("user",))).result(10)["user"][0]["level"] == "admin"


def test_the_audit_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with bench(path) as one:
        line = AppendAudit(at=T0, action="user_added", username="anna", subject="ben", detail={"level": "viewer"})
        one.store.ask(Record(rows=(line, line))).result(10)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id, action, subject FROM audit").fetchall() == [
            (1, "user_added", "ben"),
            (2, "user_added", "ben"),
        ]
        for sql in ("DELETE FROM audit", "UPDATE audit SET subject = 'x'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(sql)
