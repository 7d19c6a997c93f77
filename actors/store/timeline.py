"""What lately was: which jobs used which GPUs, a span a GPU, and how long jobs waited."""

from __future__ import annotations

import sqlite3
from typing import Final

from gpuyard.actors.model.clock import epoch, iso
from gpuyard.actors.model.commands import GetTimeline
from gpuyard.actors.model.views import TimelineSpan
from gpuyard.actors.store.columns import from_json

# By fence from the newest on: an index over the ends would cost each end of a run a page.
SPANS: Final = (
    "SELECT a.host, a.gpus, a.job_id, q.user_id, coalesce(q.name, q.config_name, a.job_id),"
    " coalesce(a.started_at, a.assigned_at), a.ended_at, a.exit_class"
    " FROM (SELECT * FROM attempt ORDER BY fence DESC LIMIT ?) a JOIN queue q ON q.job_id = a.job_id"
    " WHERE a.gpus != '[]' AND (a.ended_at IS NULL OR a.ended_at >= ?) ORDER BY a.fence DESC"
)
WAITS: Final = (
    "SELECT queued_at, started_at FROM (SELECT queued_at, started_at FROM queue ORDER BY id DESC LIMIT ?)"
    " WHERE started_at IS NOT NULL"
)


def waits(connection: sqlite3.Connection, limit: int) -> list[float]:
    return [max(0.0, epoch(started) - epoch(queued)) for queued, started in connection.execute(WAITS, (limit,))]


def timeline(connection: sqlite3.Connection, query: GetTimeline) -> list[TimelineSpan]:
    found = []
    for host, gpus, job_id, user_id, title, started_at, ended_at, exit_class in connection.execute(
        SPANS, (query.limit, iso(query.since))
    ):
        found += [
            TimelineSpan(
                host=host,
                uuid=gpu["uuid"],
                index=gpu["index"],
                job_id=job_id,
                user_id=user_id,
                title=title,
                started_at=started_at,
                ended_at=ended_at,
                exit_class=exit_class,
            )
            for gpu in from_json(gpus)
        ]
    return found
