"""What the CloudDispatcher tells itself, or is told by its desks and by the store's answers; none of it travels."""

from __future__ import annotations

from typing import Any

from gpuyard.actors.model.cloud_remote import Trouble
from gpuyard.actors.model.message import Message


class Loaded(Message, frozen=True, kw_only=True):
    """What the store has of the providers; None when it could not be read. From: the store's answer."""

    rows: list[dict[str, Any]] | None


class Reload(Message, frozen=True, kw_only=True):
    """Ask the store again. From: the actor's own timer. Repeat: harmless."""


class CallEnded(Message, frozen=True, kw_only=True):
    """A call to a provider was answered. From: its desk. Repeat: never."""

    provider: str
    call: Any
    result: Any
    trouble: Trouble | None


class Tested(Message, frozen=True, kw_only=True):
    """A test that somebody asked for has ended. From: the desk. Repeat: never."""

    provider: str
    answer: Any
    began: float
    reply: Any


class Recorded(Message, frozen=True, kw_only=True):
    """`enabled` of a provider is durable, or `error` says why not. From: the store's answer. Repeat: never."""

    provider: str
    enabled: bool
    reply: Any
    error: Any


class Heard(Message, frozen=True, kw_only=True):
    """A webhook whose signature is right. From: the desk. Repeat: harmless."""

    provider: str
    token: str
    remote_id: str


class Uploading(Message, frozen=True, kw_only=True):
    """How far the files of a run are, in words. From: the desk. Repeat: harmless."""

    provider: str
    fence: int
    words: str


class Due(Message, frozen=True, kw_only=True):
    """A book wants to be advanced. From: the actor's own timer. Repeat: harmless."""

    provider: str
