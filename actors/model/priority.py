"""Effective priority: override if set, else the level's value plus a boost for waiting (DESIGN 6, "Order")."""

from __future__ import annotations

from gpuyard.actors.model.job import Job, Status

BOOST_STEP = 10
HIGHEST_BOOSTED = 39
HIGHEST = 50
ADMIN_ONLY_FROM = 40

NAMES = ((40, "critical"), (30, "urgent"), (20, "high"), (10, "normal"), (0, "low"))


def name_of(priority: int) -> str:
    """low 0-9, normal 10-19, high 20-29, urgent 30-39, critical 40-50 (CONTRACT "Entry")."""
    return next(name for floor, name in NAMES if priority >= floor)


def boosted(level: int, waited_seconds: float, threshold_minutes: float) -> int:
    """The effective priority of a job without override: never above 39, never falling while it waits."""
    steps = max(0, int(waited_seconds // (threshold_minutes * 60)))
    return max(level, min(HIGHEST_BOOSTED, level + BOOST_STEP * steps))


def effective(job: Job, now: float, threshold_minutes: float) -> int:
    """Override if set, else level + boost while pending."""
    if job.priority_override is not None:
        return job.priority_override
    if job.status is not Status.PENDING:
        return job.priority
    return boosted(job.priority, now - job.ranked_at, threshold_minutes)
