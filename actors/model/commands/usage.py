"""Usage: what the edges ask."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class GetLiveUsage(Message, frozen=True, kw_only=True):
    """The runs that live now, as far as their programs have started. From: Frontend. To: Scheduler.

    Reply: list of LiveRun. Repeat: harmless.
    """


class GetUsage(Message, frozen=True, kw_only=True):
    """The sums of ended runs from one UTC day (`2026-11-01`) to another, both included. From: Frontend. To: History.

    `user_id` and `team_id` narrow. `live` are fences of runs that the Scheduler just said live: the reply tells which
    of them have not ended in the store either, so that none is counted twice. Reply: UsageSums. Repeat: harmless.
    """

    first: str
    last: str
    user_id: int | None = None
    team_id: str | None = None
    live: tuple[int, ...] = ()
