"""Answers about the supervisor's actors."""

from __future__ import annotations

from gpuyard.actors.model.views.base import View


class ActorStats(View, frozen=True, kw_only=True):
    """`inboxes` depth by actor name; `commit_seconds` of the last commits (at most 256), newest last."""

    inboxes: dict[str, int]
    commit_seconds: list[float]
    uptime_seconds: float
    restarts: int = 0
