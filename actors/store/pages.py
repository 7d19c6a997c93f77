"""History's questions: pages of jobs, one job, events, run times (`model.commands`, "asked of History").

A page is found in two steps: its ids, from as little of the file as possible and from the nearer end, then its rows.
So the last page of a hundred thousand jobs costs what the first one does.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from gpuyard.actors.model.attempt import Attempt
from gpuyard.actors.model.clock import epoch
from gpuyard.actors.model.commands import GetEvents, ListJobs
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.entry import attempt_view, entry_of
from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.job import ALIASES, Job, Status
from gpuyard.actors.model.views import HistoryPage, JobRecord
from gpuyard.actors.store.columns import from_json, job_from
from gpuyard.actors.store.reads import JOBS, attempts_of, one_read

WAITING: Final = (Status.BLOCKED, Status.PENDING)
EVENTS: Final = "SELECT id, at, kind, job_id, user_id, who, data, cause, by_user_id, token_id, address FROM event"
EVENTS_AFTER: Final = f"{EVENTS} WHERE id > ? ORDER BY id LIMIT ?"
EVENTS_OF: Final = f"{EVENTS} WHERE job_id = ? AND id > ? ORDER BY id LIMIT ?"
RUNS_PER_CONFIG: Final = 50
FOUND: Final = (
    "(instr(lower(coalesce(name, '') || char(10) || coalesce(config_name, '')), lower(?)) OR instr(job_id, lower(?)))"
)
PREFIX: Final = (
    "SELECT job_id FROM queue WHERE job_id >= ? AND job_id < ? AND (? IS NULL OR user_id = ?) ORDER BY job_id LIMIT 11"
)
RUN_TIMES: Final = (
    "SELECT q.started_at, q.completed_at FROM queue q INDEXED BY queue_finished"
    " WHERE q.completed_at IS NOT NULL AND q.config_name = ? AND q.status = 'completed' AND q.started_at IS NOT NULL"
    " ORDER BY q.completed_at DESC LIMIT ?"
)


def list_jobs(connection: sqlite3.Connection, query: ListJobs, totals: Totals) -> HistoryPage:
    """The page that `query` asks for, in one read."""
    with one_read(connection):
        total, ids = _page(connection, query, totals)
        return HistoryPage(records=_records(connection, ids), total=total)


def get_job(connection: sqlite3.Connection, job_id: str, *, prefix: bool, user_id: int | None = None) -> JobRecord:
    """The job with its attempts, events and spec; with `user_id` only that user's jobs exist. Raises NotFound."""
    with one_read(connection):
        if prefix:
            job_id = _whole_id(connection, job_id, user_id)
        row = connection.execute(f"{JOBS} WHERE q.job_id = ?", (job_id,)).fetchone()
        if row is None or (user_id is not None and job_from(row).user_id != user_id):
            raise NotFound(f"there is no job {job_id}", job_id=job_id)
        attempts = attempts_of(connection, [job_id]).get(job_id, [])
        events = [event_from(found) for found in connection.execute(EVENTS_OF, (job_id, 0, -1))]
        return _record(job_from(row), attempts, _workers(connection), events, from_json(row[-1]))


def get_events(connection: sqlite3.Connection, query: GetEvents) -> list[EventRow]:
    """Events after `query.after`, oldest first."""
    if query.job_id is None:
        rows = connection.execute(EVENTS_AFTER, (query.after, query.limit))
    else:
        rows = connection.execute(EVENTS_OF, (query.job_id, query.after, query.limit))
    return [event_from(row) for row in rows]


def last_event(connection: sqlite3.Connection) -> tuple[int, int]:
    """The oldest kept event id and the newest one; zeros when there is none."""
    oldest, newest = connection.execute("SELECT (SELECT min(id) FROM event), (SELECT max(id) FROM event)").fetchone()
    return oldest or 0, newest or 0


def run_times(connection: sqlite3.Connection, config_names: tuple[str, ...]) -> dict[str, list[float]]:
    """Seconds that the last completed runs of these configs took, newest first."""
    found = {}
    for name in config_names:
        rows = connection.execute(RUN_TIMES, (name, RUNS_PER_CONFIG))
        found[name] = [max(0.0, epoch(ended) - epoch(started)) for started, ended in rows]
    return found


def event_from(row: tuple[Any, ...]) -> EventRow:
    id_, at, kind, job_id, user_id, who, data, cause, by_user_id, token_id, address = row
    return EventRow(
        id=id_,
        at=epoch(at),
        kind=kind,
        job_id=job_id,
        user_id=user_id,
        by=who,
        data=from_json(data),
        cause=cause,
        by_user_id=by_user_id,
        token_id=token_id,
        address=address,
    )


# --- pages -------------------------------------------------------------------------------------------------------


class Totals:
    """How many jobs match a filter, remembered until somebody writes: counting is what a page costs most."""

    def __init__(self) -> None:
        self._version = -1
        self._known: dict[tuple[str, tuple[Any, ...]], int] = {}

    def count(self, connection: sqlite3.Connection, matching: str, values: tuple[Any, ...]) -> int:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != self._version or len(self._known) >= 256:
            self._version = version
            self._known.clear()
        total = self._known.get((matching, values))
        if total is None:
            (total,) = connection.execute(f"SELECT count(*) FROM {matching}", values).fetchone()
            self._known[matching, values] = total
        return total


def _page(connection: sqlite3.Connection, query: ListJobs, totals: Totals) -> tuple[int, list[int]]:
    """How many jobs match, and the ids of the page's."""
    matching, values = _filter(query)
    total = totals.count(connection, matching, values)
    size = max(0, min(query.limit, total - query.offset))
    if size == 0:
        return total, []
    order = "completed_at {0}, id {0}" if query.finished_only else "id {0}"
    behind = total - query.offset - size
    direction, offset = ("DESC", query.offset) if query.offset <= behind else ("ASC", behind)
    sql = f"SELECT id FROM {matching} ORDER BY {order.format(direction)} LIMIT ? OFFSET ?"
    ids = [id_ for (id_,) in connection.execute(sql, (*values, size, offset))]
    return total, ids if direction == "DESC" else ids[::-1]


def _filter(query: ListJobs) -> tuple[str, tuple[Any, ...]]:
    """FROM and WHERE of `query`, and its values."""
    terms: list[str] = []
    values: list[Any] = []
    statuses = [str(ALIASES.get(status, status)) for status in query.statuses]
    for column, wanted in (("status", statuses), ("user_id", [query.user_id]), ("target", [query.target])):
        chosen = [value for value in wanted if value is not None]
        if chosen:
            terms.append(f"{column} IN ({', '.join('?' * len(chosen))})")
            values += chosen
    if query.name is not None:
        terms.append("name = ?")
        values.append(query.name)
    if query.search:
        terms.append(FOUND)
        values += [query.search, query.search]
    source = "queue"
    if query.finished_only:
        source, terms = "queue INDEXED BY queue_finished", ["completed_at IS NOT NULL", *terms]
    return f"{source} WHERE {' AND '.join(terms)}" if terms else source, tuple(values)


def _records(connection: sqlite3.Connection, ids: list[int]) -> list[JobRecord]:
    """Jobs with their attempts, in the order of `ids`."""
    marks = ", ".join("?" * len(ids))
    jobs = {row[0]: job_from(row) for row in connection.execute(f"{JOBS} WHERE q.id IN ({marks})", ids)}
    attempts = attempts_of(connection, [job.job_id for job in jobs.values()])
    workers = _workers(connection)
    return [_record(jobs[id_], attempts.get(jobs[id_].job_id, []), workers) for id_ in ids]


def _workers(connection: sqlite3.Connection) -> dict[str, str]:
    """The names of all workers, by id; one that was deleted has none any more."""
    return dict(connection.execute("SELECT id, name FROM worker"))


def _record(
    job: Job,
    attempts: list[Attempt],
    workers: dict[str, str],
    events: list[EventRow] | None = None,
    spec: dict[str, Any] | None = None,
) -> JobRecord:
    # A job that waits (again) has no present attempt: its last one's GPUs are not its own any more.
    present = attempts[-1] if attempts and job.status not in WAITING else None
    return JobRecord(
        entry=entry_of(job, present, worker_name=workers.get(present.host) if present is not None else None),
        attempts=[attempt_view(attempt) for attempt in attempts],
        events=events or [],
        spec=spec or {},
    )


def _whole_id(connection: sqlite3.Connection, prefix: str, user_id: int | None) -> str:
    """The id of the one job (of that user, if one is given) that is `prefix` or begins with it. Raises NotFound."""
    values = (prefix, prefix + "\U0010ffff", user_id, user_id)
    found = [id_ for (id_,) in connection.execute(PREFIX, values)] if prefix else []
    if not found:
        raise NotFound(f"there is no job {prefix}", job_id=prefix)
    if found[0] == prefix or len(found) == 1:
        return str(found[0])
    count = str(len(found)) if len(found) <= 10 else "more than 10"
    raise NotFound(
        f"{prefix} is the beginning of {count} job ids: give more letters", job_id=prefix, matches=found[:10]
    )
