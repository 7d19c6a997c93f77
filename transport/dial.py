"""What a worker's control socket tells its bulk socket."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class Dial(Message, frozen=True, kw_only=True):
    """Connect to the server's bulk socket there. From: the uplink. To: the bulk socket. Repeat: harmless."""

    endpoint: str


class HangUp(Message, frozen=True, kw_only=True):
    """The server does not take us: leave it. From: the uplink. To: the bulk socket. Repeat: harmless."""
