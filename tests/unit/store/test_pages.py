"""History's answers: order, filters, pages from either end, and no more than was asked."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from gpuyard.actors.model.attempt import Phase
from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commands import GetEvents, ListJobs
from gpuyard.actors.model.commit import CloseHolds, UpdateAttempt, UpdateJob
from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.model.job import JobSpec, Status, Target
from gpuyard.actors.store import pages
from gpuyard.actors.store.writes import apply
from tests.support_store import T0, ended, event_of, job_of, started, submitted
from tests.unit.store.scratch import scratch

COUNT = 60
ENDS = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


@pytest.fixture(scope="module")
def db() -> Iterator[sqlite3.Connection]:
    """60 jobs of three users: every fifth waits, the others have ended in an order of their own."""
    mixed = random.Random(1)
    with scratch() as connection:
        for number in range(1, COUNT + 1):
            target = Target.LOCAL if number % 2 else Target.AUTO
            spec = JobSpec(argv=("x",), config_name=f"c{number % 3}", target=target, name=f"n{number % 4}")
            apply(connection, submitted(number, user_id=number % 3, spec=spec))
            if number % 5:
                apply(connection, [*started(number, number), *ended(number, number, ENDS[number % 3])])
                # The same end for some, so that the tie must be broken.
                at = iso(T0 + 1000 + mixed.randrange(20))
                connection.execute("UPDATE queue SET completed_at = ? WHERE id = ?", (at, number))
        yield connection


def listed(db: sqlite3.Connection, **query: Any) -> tuple[list[int], int]:
    page = pages.list_jobs(db, ListJobs(**query), pages.Totals())
    return [record.entry.id for record in page.records], page.total


def test_all_jobs_newest_first(db: sqlite3.Connection) -> None:
    assert listed(db, limit=3) == ([60, 59, 58], COUNT)
    assert listed(db, limit=3, offset=57) == ([3, 2, 1], COUNT)
    assert listed(db, limit=3, offset=59) == ([1], COUNT)
    assert listed(db, limit=3, offset=60) == ([], COUNT)
    assert listed(db, limit=3, offset=10_000) == ([], COUNT)


FILTERS: list[dict[str, Any]] = [
    {},
    {"statuses": ("failed",)},
    {"statuses": ("completed", "cancelled")},
    {"statuses": ("queued",)},
    {"statuses": ("running",)},
    {"user_id": 1},
    {"user_id": 1, "statuses": ("failed",)},
    {"user_id": 77},
    {"target": "local"},
    {"name": "n2"},
    {"name": "n2", "user_id": 2, "target": "auto"},
]


def _matches(row: sqlite3.Row, query: dict[str, Any]) -> bool:
    statuses = ["pending" if status == "queued" else status for status in query.get("statuses", ())]
    return (
        (not statuses or row["status"] in statuses)
        and row["user_id"] == query.get("user_id", row["user_id"])
        and row["target"] == query.get("target", row["target"])
        and row["name"] == query.get("name", row["name"])
    )


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("query", FILTERS)
def test_pages_put_together_are_the_whole_list(db: sqlite3.Connection, query: dict[str, Any], finished: bool) -> None:
    cursor = db.cursor()
    cursor.row_factory = sqlite3.Row
    rows = [row for row in cursor.execute("SELECT * FROM queue") if _matches(row, query)]
    if finished:
        rows = [row for row in rows if row["completed_at"] is not None]
        rows.sort(key=lambda row: (row["completed_at"], row["id"]), reverse=True)
    else:
        rows.sort(key=lambda row: row["id"], reverse=True)
    expected = [row["id"] for row in rows]
    for size in (1, 7, 500):
        got: list[int] = []
        for offset in range(0, len(expected) + size, size):
            ids, total = listed(db, **query, finished_only=finished, limit=size, offset=offset)
            assert total == len(expected)
            got += ids
        assert got == expected


def test_a_record_has_its_attempts_but_neither_events_nor_spec(db: sqlite3.Connection) -> None:
    (record,) = pages.list_jobs(db, ListJobs(limit=1, offset=1), pages.Totals()).records
    assert record.entry.id == 59
    assert [attempt.fence for attempt in record.attempts] == [make_fence(1, 59)]
    assert (record.events, record.spec) == ([], {})
    assert (record.entry.allocated_gpus, record.entry.fence, record.entry.phase) == ([0], make_fence(1, 59), None)


def test_one_job_with_everything(db: sqlite3.Connection) -> None:
    record = pages.get_job(db, "job000001", prefix=False)
    assert record.spec == {"argv": ["x"], "config_name": "c1", "target": "local", "name": "n1"}
    assert [event.id for event in record.events] == [1]
    assert record.events[0] == event_of(1, "job000001")
    assert record.attempts[0].exit_code == record.entry.exit_code == 1


def test_a_unique_prefix_names_a_job(db: sqlite3.Connection) -> None:
    assert pages.get_job(db, "job00006", prefix=True).entry.id == 60
    assert pages.get_job(db, "job000007", prefix=True).entry.id == 7
    with pytest.raises(NotFound, match="job00000 is the beginning of 9 job ids: give more letters"):
        pages.get_job(db, "job00000", prefix=True)
    with pytest.raises(NotFound, match="more than 10"):
        pages.get_job(db, "j", prefix=True)
    for nothing in ("", "job1", "%", "job00006x", "job000061"):
        with pytest.raises(NotFound, match="there is no job"):
            pages.get_job(db, nothing, prefix=True)
    with pytest.raises(NotFound):
        pages.get_job(db, "job00006", prefix=False)


def test_a_job_that_waits_again_shows_no_gpus() -> None:
    with scratch() as db:
        apply(db, [*submitted(1), *started(1, 1)])
        assert pages.get_job(db, "job000001", prefix=False).entry.allocated_gpus == [0]
        apply(
            db,
            [
                UpdateAttempt(make_fence(1, 1), {"phase": Phase.LOST}),
                CloseHolds(make_fence(1, 1), T0),
                UpdateJob("job000001", Status.RUNNING, {"status": Status.PENDING}),
            ],
        )
        record = pages.get_job(db, "job000001", prefix=False)
    assert (record.entry.allocated_gpus, record.entry.fence, len(record.attempts)) == (None, None, 1)


def test_events_after_an_id(db: sqlite3.Connection) -> None:
    assert [row.id for row in pages.get_events(db, GetEvents(after=57))] == [58, 59, 60]
    assert [row.id for row in pages.get_events(db, GetEvents(limit=2))] == [1, 2]
    assert pages.get_events(db, GetEvents(job_id="job000003")) == [event_of(3, "job000003")]
    assert pages.get_events(db, GetEvents(job_id="job000003", after=3)) == []
    assert pages.last_event(db) == (1, 60)


def test_there_is_no_last_event_at_first() -> None:
    with scratch() as db:
        assert pages.last_event(db) == (0, 0)


def test_run_times_are_those_of_completed_runs_newest_first() -> None:
    with scratch() as db:
        for number in range(1, 61):
            spec = JobSpec(argv=("x",), config_name="even" if number % 2 == 0 else "odd")
            end = Status.FAILED if number == 60 else Status.COMPLETED
            apply(db, [*submitted(number, spec=spec), *started(number, number), *ended(number, number, end)])
        for number in range(61, 125):
            apply(db, [*submitted(number, spec=JobSpec(config_name="many"))])
            apply(db, [*started(number, number), *ended(number, number)])
        times = pages.run_times(db, ("even", "odd", "many", "none"))
    assert times["even"] == [50.0 + number for number in range(58, 0, -2)]
    assert times["odd"] == [50.0 + number for number in range(59, 0, -2)]
    assert times["many"] == [50.0 + number for number in range(124, 74, -1)]
    assert times["none"] == []


def test_totals_are_counted_again_after_a_write() -> None:
    uri = "file:totals?mode=memory&cache=shared"
    with scratch() as source:
        writer = sqlite3.connect(uri, uri=True, isolation_level=None)
        reader = sqlite3.connect(uri, uri=True, isolation_level=None)
        source.backup(writer)
        totals = pages.Totals()
        apply(writer, submitted(1))
        assert pages.list_jobs(reader, ListJobs(), totals).total == 1
        apply(writer, submitted(2))
        assert pages.list_jobs(reader, ListJobs(), totals).total == 2
        assert job_of(2).job_id == pages.list_jobs(reader, ListJobs(limit=1), totals).records[0].entry.job_id
        writer.close()
        reader.close()


def test_the_pages_of_a_long_history_are_found_in_an_index() -> None:
    with scratch() as db:
        for query in (ListJobs(finished_only=True), ListJobs(finished_only=True, user_id=1, statuses=("failed",))):
            matching, values = pages._filter(query)
            for direction in ("ASC", "DESC"):
                sql = f"SELECT id FROM {matching} ORDER BY completed_at {direction}, id {direction} LIMIT 5"
                plan = " ".join(row[-1] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values))
                assert "COVERING INDEX queue_finished" in plan, plan
                assert "TEMP B-TREE" not in plan, plan
