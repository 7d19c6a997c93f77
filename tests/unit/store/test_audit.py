"""The audit as it is read: two tables as one story, newest first, nothing twice and nothing left out."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from gpuyard.actors.model.commands import ListAudit
from gpuyard.actors.model.commit import DeleteFinished, DeleteJobRow, EventRow
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.registers import audit_line
from gpuyard.actors.model.views import AuditEntry
from gpuyard.actors.store import audit, registers, writes
from tests.support_store import T0, ended, started, submitted
from tests.unit.store.scratch import scratch

ANN = Viewer(user_id=2, username="ann", level=Level.LEAD, address="192.0.2.7", token_id=3)
BOB = Viewer(user_id=4, username="bob", level=Level.ADMIN, address="192.0.2.8", token_id=5)


def line(db: sqlite3.Connection, at: float, by: Viewer = ANN, action: str = "user_changed") -> None:
    registers.write(db, [audit_line(by, T0 + at, action, "user 9 eve", "req", level="lead")])


def event(number: int, at: float, by: Viewer | None = ANN, **more: Any) -> EventRow:
    whose = {} if by is None else {"by": by.username, "by_user_id": by.user_id, "token_id": by.token_id}
    if by is not None:
        whose["address"] = by.address
    return EventRow(id=number, at=T0 + at, kind=more.pop("kind", "job_held"), **{"job_id": "j1", **whose, **more})


def read(db: sqlite3.Connection, limit: int = 100, **query: Any) -> list[AuditEntry]:
    """All pages."""
    entries: list[AuditEntry] = []
    before: str | None = ""
    while before is not None:
        page = audit.page(db, ListAudit(limit=limit, before=before, **query))
        assert len(page.entries) <= limit
        entries += page.entries
        before = page.before
    return entries


def ids(entries: list[AuditEntry]) -> list[str]:
    return [entry.id for entry in entries]


def test_both_tables_are_one_story_and_what_gpuyard_did_itself_is_not_in_it() -> None:
    with scratch() as db:
        line(db, 1)
        writes.apply(db, [event(1, 2), event(2, 3, None, kind="job_started"), event(3, 4, BOB, data={"before": 1})])
        line(db, 3.5)
        found = read(db)
        assert ids(found) == ["e3", "a2", "e1", "a1"]
        first = found[0]
        assert (first.user_id, first.username, first.token_id, first.address) == (4, "bob", 5, "192.0.2.8")
        assert (first.action, first.job_id, first.detail, first.at) == (
            "job_held", "j1", {"before": 1}, "2023-11-14T22:13:24.000Z"
        )  # fmt: skip
        assert (found[1].subject, found[1].detail, found[1].cause) == ("user 9 eve", {"level": "lead"}, "req")


def test_filters() -> None:
    with scratch() as db:
        line(db, 1)
        line(db, 2, BOB, "user_added")
        writes.apply(db, [event(1, 3), event(2, 4, BOB, kind="job_cancelled", job_id="j2"), event(3, 5, None)])
        assert ids(read(db, user_id=4)) == ["e2", "a2"]
        assert ids(read(db, username="ann")) == ["e1", "a1"]
        assert ids(read(db, actions=("job_held", "user_added"))) == ["e1", "a2"]
        assert ids(read(db, job_id="j2")) == ["e2"]
        assert ids(read(db, since=T0 + 2, until=T0 + 3)) == ["e1", "a2"]
        assert read(db, username="eve") == []


@pytest.mark.parametrize("before", ["x", "a1", "a1e", "e1a1", "a-1e1", "a1e1 ", "a1e" + "9" * 40, "a١e1"])
def test_a_place_that_was_never_given_out_is_refused(before: str) -> None:
    with scratch() as db, pytest.raises(InvalidInput, match="before"):
        audit.page(db, ListAudit(before=before))


@given(
    steps=st.lists(st.tuples(st.booleans(), st.floats(-5, 50), st.booleans()), max_size=40),
    limit=st.integers(1, 7),
    window=st.integers(1, 9),
)
@settings(deadline=None, max_examples=60)
def test_pages_show_every_line_once_whatever_the_clock_does(
    steps: list[tuple[bool, float, bool]], limit: int, window: int
) -> None:
    with scratch() as db, pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "WINDOW", window)
        now, lines, events = 0.0, [], []
        for number, (is_line, step, somebody) in enumerate(steps, 1):
            now += step
            if is_line:
                line(db, now)
                lines.append(f"a{len(lines) + 1}")
            else:
                writes.apply(db, [event(number, now, ANN if somebody else None)])
                if somebody:
                    events.append(f"e{number}")
        found = ids(read(db, limit))
        assert sorted(found) == sorted(lines + events)
        assert [one for one in found if one[0] == "a"] == lines[::-1]
        assert [one for one in found if one[0] == "e"] == events[::-1]
        if all(step >= 0 for _, step, _ in steps):
            times = [entry.at for entry in read(db, limit)]
            assert times == sorted(times, reverse=True)


def test_a_page_looks_at_a_bounded_piece_of_a_long_story() -> None:
    with scratch() as db:
        writes.apply(db, [event(1, 0)])
        db.executemany(
            "INSERT INTO event (id, at, kind) VALUES (?, '2023-11-14T22:13:25.000Z', 'job_started')",
            [(number,) for number in range(2, audit.WINDOW * 2)],
        )
        page = audit.page(db, ListAudit())
        assert (page.entries, page.before is not None) == ([], True)
        assert ids(read(db)) == ["e1"]
        plan = str(db.execute(f"EXPLAIN QUERY PLAN {audit.STORY} ORDER BY id DESC LIMIT 5", (9, 1)).fetchall())
        assert "USING INTEGER PRIMARY KEY" in plan and "TEMP" not in plan, plan


def test_a_deletion_is_told_in_its_own_transaction_and_only_if_it_happened() -> None:
    with scratch() as db:
        writes.apply(db, [*submitted(1), *started(1, 1), *ended(1, 1), *submitted(2), *started(2, 2), *ended(2, 2)])
        count = len(read(db))
        told = event(90, 99, kind="job_deleted", job_id="job000001")
        writes.apply(db, [DeleteJobRow("nothing", told), DeleteFinished(T0 - 1, event=told)])
        assert len(read(db)) == count
        writes.apply(db, [DeleteJobRow("job000001", told)])
        assert (read(db)[0].id, read(db)[0].detail) == ("e90", {"deleted": 1})
        cleaned = event(91, 100, kind="queue_cleaned", job_id=None, data={"days": 30})
        writes.apply(db, [DeleteFinished(T0 + 1e6, event=cleaned)])
        assert read(db)[0].detail == {"days": 30, "deleted": 1}
        assert len(read(db, job_id="job000001")) > 1, "the story outlives the job"
