"""A stored job → the Job of the API (CONTRACT "Job routes")."""

from __future__ import annotations

from typing import Any

import msgspec

from gpuyard.actors.model import clock
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.job import TERMINAL
from gpuyard.actors.model.views import Entry, JobRecord
from gpuyard.api.answers import Job, JobWithStory, StoryLine
from gpuyard.api.hub import event_view


def job(record: JobRecord, now: float) -> Job:
    """`now` (epoch seconds) gives a running job's age."""
    return Job(**_fields(record, now))


def job_with_story(record: JobRecord, now: float) -> JobWithStory:
    """With the events, and what a curious reader asks next: where it ran, of which config."""
    return JobWithStory(
        **_fields(record, now),
        events=[story_line(row) for row in record.events],
        config_hash=record.spec.get("config_hash"),
        workdir=record.spec.get("workdir"),
    )


def story_line(row: EventRow) -> StoryLine:
    return StoryLine(**event_view(row))


def _fields(record: JobRecord, now: float) -> dict[str, Any]:
    entry = record.entry
    ended = entry.status in TERMINAL
    return {
        **msgspec.structs.asdict(entry),
        "created_at": entry.queued_at,
        "finished_at": entry.completed_at,
        "duration_seconds": _duration(entry, now),
        "is_active": not ended,
        "is_terminal": ended,
        "queue_position": entry.position,
        "attempts": record.attempts,
    }


def _duration(entry: Entry, now: float) -> float | None:
    """Seconds from the first start to the end, or to now while it runs."""
    if entry.started_at is None or (entry.completed_at is None and entry.status != "running"):
        return None
    end = clock.epoch(entry.completed_at) if entry.completed_at is not None else now
    return round(max(0.0, end - clock.epoch(entry.started_at)), 3)
