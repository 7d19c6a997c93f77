"""What the bulk socket tells the gateway."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class BulkOpen(Message, frozen=True, kw_only=True):
    """The bulk socket listens on `port` and needs the allow-list. From: the bulk socket. To: the gateway.

    Answered by AllowKeys, once there is one. Repeat: harmless.
    """

    port: int
