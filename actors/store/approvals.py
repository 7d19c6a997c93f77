"""History's questions about approvals: lists of them, and past submits as approval rules see them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any, Final

import msgspec

from gpuyard.actors.model.approvals import Candidate, provider_of
from gpuyard.actors.model.commands import ListApprovals, PastSubmit
from gpuyard.actors.model.errors import NotFound
from gpuyard.actors.model.job import JobSpec
from gpuyard.actors.model.people import Level
from gpuyard.actors.model.views import ApprovalPage, ApprovalView
from gpuyard.actors.store.reads import one_read

FIELDS: Final = tuple(name for name in ApprovalView.__struct_fields__ if name != "username")
COLUMNS: Final = ", ".join(f"a.{name}" for name in FIELDS)
SELECT: Final = f"SELECT {COLUMNS}, u.username FROM approval a LEFT JOIN user u ON u.id = a.user_id"
# Those that wait are for people to work through, the oldest first; what was decided is history.
ORDER: Final = (
    "ORDER BY a.status = 'pending' DESC, CASE WHEN a.status = 'pending' THEN a.id ELSE -a.id END LIMIT ? OFFSET ?"
)
SUBMITTED: Final = (
    "SELECT q.job_id, q.user_id, q.priority, q.queued_at, s.spec, e.id, m.first_at FROM queue q"
    " JOIN job_spec s ON s.id = q.id LEFT JOIN submitter m ON m.user_id = q.user_id"
    " LEFT JOIN event e ON e.job_id = q.job_id AND e.kind = 'job_submitted' ORDER BY q.id DESC LIMIT ?"
)
SUBMITS_SINCE: Final = (
    "SELECT id, at, user_id FROM event INDEXED BY event_submitted WHERE kind = 'job_submitted' AND at >= ?"
    " ORDER BY at, id"
)


def list_approvals(connection: sqlite3.Connection, query: ListApprovals) -> ApprovalPage:
    """The page that `query` asks for, in one read."""
    terms: list[str] = ["1"]
    values: list[str | int] = []
    if query.statuses:
        terms.append(f"a.status IN ({', '.join('?' * len(query.statuses))})")
        values += list(query.statuses)
    if query.user_id is not None:
        terms.append("a.user_id = ?")
        values.append(query.user_id)
    where = " AND ".join(terms)
    with one_read(connection):
        (total,) = connection.execute(f"SELECT count(*) FROM approval a WHERE {where}", values).fetchone()
        rows = connection.execute(f"{SELECT} WHERE {where} {ORDER}", (*values, query.limit, query.offset))
        return ApprovalPage(approvals=[_view(row) for row in rows], total=total)


def get_approval(connection: sqlite3.Connection, approval_id: int) -> ApprovalView:
    """Raises NotFound."""
    row = connection.execute(f"{SELECT} WHERE a.id = ?", (approval_id,)).fetchone()
    if row is None:
        raise NotFound(f"there is no approval {approval_id}", approval_id=approval_id)
    return _view(row)


def past_submits(connection: sqlite3.Connection, limit: int) -> list[PastSubmit]:
    """The last submitted jobs that are still there, newest first, as the rules would have seen them then."""
    with one_read(connection):
        rows = connection.execute(SUBMITTED, (limit,)).fetchall()
        first_day = min((row[3][:10] for row in rows), default="9999")
        numbers: dict[int, int] = {}
        counts: Counter[tuple[str, int | None]] = Counter()
        for event_id, at, user_id in connection.execute(SUBMITS_SINCE, (first_day,)):
            numbers[event_id] = counts[at[:10], user_id]
            counts[at[:10], user_id] += 1
    return [_past(row, numbers) for row in rows]


def _past(row: tuple[Any, ...], numbers: dict[int, int]) -> PastSubmit:
    job_id, _, priority, queued_at, spec_text, event_id, first_at = row
    spec = msgspec.json.decode(spec_text, type=JobSpec)
    return PastSubmit(
        job_id=job_id,
        candidate=Candidate(
            level=max((level for level in Level if level <= (priority or 0)), default=Level.VIEWER),
            estimated_cost=spec.estimated_cost,
            gpus=spec.num_processes,
            submitted_today=numbers.get(event_id, 0),
            first_job=first_at is None or first_at >= queued_at,
            config_name=spec.config_name,
            provider=provider_of(spec.target, spec.provider),
        ),
        spec=JobSpec(
            target=spec.target,
            num_processes=spec.num_processes,
            device_ids=spec.device_ids,
            any_gpu=spec.any_gpu,
            worker_labels=spec.worker_labels,
            gpu_memory_gb=spec.gpu_memory_gb,
            provider_options={key: value for key, value in spec.provider_options.items() if key.startswith("hardware")},
            metadata={key: value for key, value in spec.metadata.items() if key.startswith("hardware")},
        ),
    )


def _view(row: tuple[Any, ...]) -> ApprovalView:
    return ApprovalView(**dict(zip((*FIELDS, "username"), row, strict=True)))
