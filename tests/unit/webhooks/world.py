"""Small pieces of the world for tests of webhooks: events, jobs, people."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.entry import entry_of
from gpuyard.actors.model.job import Job, JobSpec, Status
from gpuyard.actors.model.people import Level
from gpuyard.actors.model.views import Entry
from gpuyard.actors.model.webhooks.book import Person
from gpuyard.actors.model.webhooks.records import ENDS, Webhook

T0 = 1_000_000.0
PEOPLE = {
    1: Person("root", Level.ADMIN),
    2: Person("lea", Level.LEAD, "vision"),
    3: Person("ann", Level.RESEARCHER, "vision"),
    4: Person("bob", Level.RESEARCHER, "audio"),
}


def hook(id: str = "wh_1", owner: int = 3, **more: Any) -> Webhook:
    values = {"url": "https://example.com/hook", "events": tuple(map(str, ENDS)), "scope": "own", "cursor": 0}
    return Webhook(id=id, owner=owner, created_at=T0, **{**values, **more})


def event(id: int, kind: str = "job_completed", job_id: str | None = "job1", **data: Any) -> EventRow:
    return EventRow(id=id, at=T0 + id, kind=kind, job_id=job_id, user_id=3, data=data)


def entry(job_id: str = "job1", user_id: int = 3, team_id: str | None = "vision", **more: Any) -> Entry:
    job = Job(
        id=1,
        job_id=job_id,
        user_id=user_id,
        team_id=team_id,
        spec=JobSpec(argv=("true",), name="night run"),
        seq=1,
        queued_at=T0,
        ranked_at=T0,
        status=Status.COMPLETED,
        completed_at=T0 + 9,
        **more,
    )
    return entry_of(job)
