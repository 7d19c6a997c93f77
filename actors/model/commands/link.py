"""What the link to the Frontend is told and asked."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.message import Message


class Publish(Message, frozen=True, kw_only=True):
    """Durable events for all who watch. From: Scheduler. To: the link that serves Frontends. Repeat: by event id."""

    events: tuple[Any, ...] = ()
    revision: int = 0


class GetActorStats(Message, frozen=True, kw_only=True):
    """Mailbox depths and commit times of the supervisor process. From: Frontend. To: the link. Reply: ActorStats.

    Repeat: harmless."""
