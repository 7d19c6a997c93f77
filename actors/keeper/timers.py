"""What ProcessKeeper tells itself: through timers of its own inbox, or from another thread."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import BlobFetched, SecretValues


class StartZygote(Message, frozen=True, kw_only=True):
    """From: the actor's own timer, after the zygote has died. Repeat: harmless."""


class Look(Message, frozen=True, kw_only=True):
    """Look at a run without a keeper. From: the actor's own timer. Repeat: harmless."""

    fence: int


class Tidy(Message, frozen=True, kw_only=True):
    """Files to remove, off the way of starts. From: the actor's own timer. Repeat: harmless."""


class MindLeases(Message, frozen=True, kw_only=True):
    """A lease may have lapsed. From: the actor's own timer. Repeat: harmless."""


class ParcelCame(Message, frozen=True, kw_only=True):
    """A file of a run is here, or its secrets are (`content`), or cannot be had (`error`; `busy`: not now). From: the
    thread that fetched it. With `again`: it is to be asked for once more. Repeat: harmless."""

    fence: int
    order: dict[str, Any]
    name: str
    content: BlobFetched | SecretValues | None = None
    error: str = ""
    busy: bool = False
    again: bool = False
