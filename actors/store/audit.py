"""The audit as it is read: lines of `audit` and job events with somebody behind them, merged by time, newest first.

A job's story is written once, as events; it is not written again for the audit. Two tables are walked backwards by
their numbers, each from where the last page left it, and the later of the two next lines comes first: so no line is
shown twice or left out, whatever the clock did. One page looks at `WINDOW` events at most, since most of them have
nobody behind them or do not match: it may hold fewer lines than asked for, and says where to go on.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any, Final, NamedTuple

from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commands import ListAudit
from gpuyard.actors.model.errors import InvalidInput
from gpuyard.actors.model.views import AuditEntry, AuditPage
from gpuyard.actors.store.columns import from_json
from gpuyard.actors.store.reads import one_read

WINDOW: Final = 20_000
TOP: Final = 10**18 - 1
_PLACE = re.compile(r"a([0-9]{1,18})e([0-9]{1,18})")

Row = tuple[Any, ...]
LINES: Final = "SELECT id, at, user_id, username, token_id, address, action, NULL, subject, detail, cause FROM audit"
STORY: Final = (
    "SELECT id, at, by_user_id, who, token_id, address, kind, job_id, '', data, cause FROM event"
    " WHERE who <> '' AND id < ? AND id >= ?"
)


class Place(NamedTuple):
    """Where a page begins: the numbers of both tables below which nothing has been shown."""

    audit: int = TOP
    event: int = TOP

    def __str__(self) -> str:
        return f"a{self.audit}e{self.event}"


def page(connection: sqlite3.Connection, query: ListAudit) -> AuditPage:
    """Raises InvalidInput for a `before` that names no place."""
    place = _place(query.before)
    with one_read(connection):
        low = _window(connection, place.event, query)
        events = connection.execute(*_story(query, place.event, low)).fetchall()
        lines = connection.execute(*_lines(query, place.audit)).fetchall()
        floor = _time_at(connection, low) if low > 0 else ""
        entries, after = _merge(lines, events, query.limit, place, floor)
    if len(entries) == query.limit:
        return AuditPage(entries=entries, before=str(after))
    # Everything of the window was shown: the next page goes on below it, or there is nothing below.
    more = low > 0 and not (query.since is not None and floor < iso(query.since))
    return AuditPage(entries=entries, before=str(Place(after.audit, low)) if more else None)


def _merge(lines: list[Row], events: list[Row], limit: int, place: Place, floor: str) -> tuple[list[AuditEntry], Place]:
    """The newest of both, and where they end. Lines before `floor` wait for the events of the next window."""
    entries: list[AuditEntry] = []
    shown_lines = shown_events = 0
    while len(entries) < limit:
        line = lines[shown_lines] if shown_lines < len(lines) and lines[shown_lines][1] >= floor else None
        event = events[shown_events] if shown_events < len(events) else None
        if line is not None and (event is None or line[1] >= event[1]):
            entries.append(_entry("a", line))
            place = Place(line[0], place.event)
            shown_lines += 1
        elif event is not None:
            entries.append(_entry("e", event))
            place = Place(place.audit, event[0])
            shown_events += 1
        else:
            break
    return entries, place


def _window(connection: sqlite3.Connection, top: int, query: ListAudit) -> int:
    """The lowest event number that this page looks at. A single job has few events: all of them."""
    if query.job_id is not None:
        return 0
    (newest,) = connection.execute("SELECT max(id) FROM event WHERE id < ?", (top,)).fetchone()
    return max(0, (newest or 0) + 1 - WINDOW)


def _time_at(connection: sqlite3.Connection, number: int) -> str:
    """The time of the first event from `number` on."""
    found = connection.execute("SELECT at FROM event WHERE id >= ? ORDER BY id LIMIT 1", (number,)).fetchone()
    return str(found[0]) if found else ""


def _story(query: ListAudit, top: int, low: int) -> tuple[str, list[Any]]:
    terms, values = _filter(query, who="by_user_id", name="who", action="kind")
    if query.job_id is not None:
        terms.append("job_id = ?")
        values.append(query.job_id)
    sql = " AND ".join([STORY, *terms]) + " ORDER BY id DESC LIMIT ?"
    return sql, [top, low, *values, query.limit]


def _lines(query: ListAudit, top: int) -> tuple[str, list[Any]]:
    terms, values = _filter(query, who="user_id", name="username", action="action")
    if query.job_id is not None:
        terms.append("0")  # they are about no job
    sql = " AND ".join([f"{LINES} WHERE id < ?", *terms]) + " ORDER BY id DESC LIMIT ?"
    return sql, [top, *values, query.limit]


def _filter(query: ListAudit, *, who: str, name: str, action: str) -> tuple[list[str], list[Any]]:
    terms: list[str] = []
    values: list[Any] = []
    for term, value in (
        (f"{who} = ?", query.user_id),
        (f"{name} = ?", query.username),
        ("at >= ?", None if query.since is None else iso(query.since)),
        ("at <= ?", None if query.until is None else iso(query.until)),
    ):
        if value is not None:
            terms.append(term)
            values.append(value)
    if query.actions:
        terms.append(f"{action} IN ({', '.join('?' * len(query.actions))})")
        values += query.actions
    return terms, values


def _place(text: str) -> Place:
    if not text:
        return Place()
    found = _PLACE.fullmatch(text)
    if found is None:
        raise InvalidInput("before must be what the page before answered", field="before")
    return Place(int(found[1]), int(found[2]))


def _entry(table: str, row: Row) -> AuditEntry:
    number, at, user_id, username, token_id, address, action, job_id, subject, detail, cause = row
    return AuditEntry(
        id=f"{table}{number}",
        at=at,
        user_id=user_id,
        username=username,
        token_id=token_id,
        address=address,
        action=action,
        job_id=job_id,
        subject=subject,
        detail=from_json(detail),
        cause=cause,
    )
