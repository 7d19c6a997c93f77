"""What ProcessKeeper reminds itself of, through timers of its own inbox."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class StartZygote(Message, frozen=True, kw_only=True):
    """From: the actor's own timer, after the zygote has died. Repeat: harmless."""


class Look(Message, frozen=True, kw_only=True):
    """Look at a run without a keeper. From: the actor's own timer. Repeat: harmless."""

    fence: int


class Tidy(Message, frozen=True, kw_only=True):
    """Files to remove, off the way of starts. From: the actor's own timer. Repeat: harmless."""


class MindLeases(Message, frozen=True, kw_only=True):
    """A lease may have lapsed. From: the actor's own timer. Repeat: harmless."""
