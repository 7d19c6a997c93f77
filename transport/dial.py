"""What a worker's two sockets tell each other, whichever of them starts first."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class Dial(Message, frozen=True, kw_only=True):
    """Connect to the server's bulk socket there. From: the uplink. To: the bulk socket. Repeat: harmless."""

    endpoint: str


class HangUp(Message, frozen=True, kw_only=True):
    """The server does not take us: leave it. From: the uplink. To: the bulk socket. Repeat: harmless."""


class WhereTo(Message, frozen=True, kw_only=True):
    """The bulk socket has (re)started: say where to connect. From: the bulk socket. To: the uplink. Answered by Dial or
    HangUp. Repeat: harmless."""
