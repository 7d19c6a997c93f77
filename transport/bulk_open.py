"""What the server's two sockets for workers tell each other, whichever of them starts first."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class BulkOpen(Message, frozen=True, kw_only=True):
    """The bulk socket listens on `port` and needs the allow-list. From: the bulk socket. To: the gateway.

    Answered by AllowKeys, once there is one. Repeat: harmless.
    """

    port: int


class GatewayOpen(Message, frozen=True, kw_only=True):
    """The gateway has (re)started: say where you listen. From: the gateway. To: the bulk socket. Answered by BulkOpen.

    Repeat: harmless.
    """
