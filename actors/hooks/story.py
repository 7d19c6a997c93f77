"""Reads on in the story: the next events, the jobs that they are about, and who people are now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetEvents, GetJob, ListUsers
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import LEVELS, OWNER
from gpuyard.actors.model.views import Entry, JobRecord, UserView
from gpuyard.actors.model.webhooks import payload
from gpuyard.actors.model.webhooks.book import People, Person

AT_ONCE: Final = 500

Ask = Callable[[str, Message], Awaitable[Any]]


class Story(NamedTuple):
    """`more`: there may be more events behind these."""

    events: Sequence[EventRow]
    entries: dict[str, Entry]
    people: People
    more: bool


async def read_story(ask: Ask, after: int) -> Story:
    """What happened since event `after`. Raises GpuyardError."""
    events: list[EventRow] = await ask(names.HISTORY, GetEvents(after=after, limit=AT_ONCE))
    told = [event.job_id for event in events if payload.type_of(event) is not None and event.job_id is not None]
    entries: dict[str, Entry] = {}
    for job_id in dict.fromkeys(told):
        try:
            record: JobRecord = await ask(names.HISTORY, GetJob(job_id=job_id))
        except NotFound:
            continue  # deleted since
        entries[job_id] = record.entry
    people = await _people(ask) if entries else {}
    return Story(events, entries, people, len(events) == AT_ONCE)


async def _people(ask: Ask) -> People:
    users: list[UserView] = await ask(names.PEOPLE, ListUsers(by=OWNER))
    if not users:
        return {OWNER.user_id: Person(OWNER.username, OWNER.level)}
    return {user.id: Person(user.username, LEVELS[user.level], user.team_id, user.disabled) for user in users}
