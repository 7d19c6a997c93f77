"""Deleting jobs that have ended, with their attempts, holds and specs; events stay for ever.

A job whose GPUs are not yet empty stays too: its open hold is what keeps them from being handed out.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Final

from gpuyard.actors.model.attempt import is_worker
from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.commit import Deleted
from gpuyard.actors.store.identity import Marks, raise_marks
from gpuyard.actors.store.tables import TERMINAL_STATUSES

CHUNK: Final = 500

HOLDERS: Final = (
    "SELECT a.job_id FROM gpu_hold h INDEXED BY gpu_hold_open JOIN attempt a ON a.fence = h.fence"
    " WHERE h.closed_at IS NULL"
)
FINISHED: Final = (
    "SELECT id, job_id, status, position FROM queue INDEXED BY queue_finished WHERE completed_at IS NOT NULL"
    f" AND completed_at < ? AND status IN {TERMINAL_STATUSES} AND job_id NOT IN ({HOLDERS})"
    " ORDER BY completed_at, id LIMIT ?"
)
ONE: Final = f"SELECT id, job_id, status, position, job_id IN ({HOLDERS}) FROM queue WHERE job_id = ?"


def delete_job(connection: sqlite3.Connection, job_id: str) -> Deleted:
    row = connection.execute(ONE, (job_id,)).fetchone()
    if row is None:
        return Deleted(found=False, terminal=False)
    *doomed, holds = row
    if holds or row[2] not in TERMINAL_STATUSES:
        return Deleted(terminal=False)
    return _delete(connection, [tuple(doomed)])


def delete_finished(connection: sqlite3.Connection, before: float, limit: int | None = None) -> Deleted:
    """Delete what ended before `before` (epoch seconds), the oldest first, at most `limit` jobs."""
    parts = []
    left = limit
    while left is None or left > 0:
        size = CHUNK if left is None else min(CHUNK, left)
        doomed = connection.execute(FINISHED, (iso(before), size)).fetchall()
        if not doomed:
            break
        parts.append(_delete(connection, doomed))
        left = None if left is None else left - len(doomed)
    return _sum(parts)


def _delete(connection: sqlite3.Connection, doomed: list[tuple[int, str, str, int]]) -> Deleted:
    job_ids = tuple(row[1] for row in doomed)
    marks = f"({', '.join('?' * len(doomed))})"
    which = f"SELECT fence, host FROM attempt WHERE job_id IN {marks} ORDER BY fence"
    hosts = dict(connection.execute(which, job_ids).fetchall())
    fences = tuple(hosts)
    raise_marks(
        connection,
        Marks(job=max(row[0] for row in doomed), seq=max(row[3] or 0 for row in doomed), fence=max(fences, default=0)),
    )
    connection.execute(f"DELETE FROM queue WHERE job_id IN {marks}", job_ids)
    away = {fence: host for fence, host in hosts.items() if is_worker(host)}
    return Deleted(job_ids=job_ids, by_status=dict(Counter(row[2] for row in doomed)), fences=fences, hosts=away)


def _sum(parts: list[Deleted]) -> Deleted:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.by_status)
    return Deleted(
        job_ids=tuple(job_id for part in parts for job_id in part.job_ids),
        by_status=dict(counts),
        fences=tuple(fence for part in parts for fence in part.fences),
        hosts={fence: host for part in parts for fence, host in part.hosts.items()},
    )
