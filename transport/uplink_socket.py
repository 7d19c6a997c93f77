"""One DEALER to the server with the monitor that tells what becomes of it. No actor, no session: only the sockets.

libzmq's own reconnecting is switched off: after a ZAP denial it would never try again, and after a break it would
keep what was queued before. Whoever owns this closes it when it has ended, and makes a new one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import zmq

from gpuyard.transport import wire_codec as wire
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.token import WorkerToken

HIGH_WATER: Final = 1_000
HANDSHAKE_MS: Final = 5_000
CONNECT_MS: Final = 5_000
LINGER_MS: Final = 200
DENIED: Final = 400
_EVENT: Final = struct.Struct("=HI")
_ENDED: Final = {
    zmq.EVENT_CLOSED: "nobody listens there",
    zmq.EVENT_DISCONNECTED: "the connection was lost",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake was broken off: not this server's key, or it can't check ours",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "it is no gpuyard server, or one without encryption",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "the server does not allow this worker's key: it was deleted, rotated or revoked;"
    " `gpuyard workers rotate-token` there makes a new token",
}


class News:
    """What the monitor tells: `connected`, or the end with its `reason`; `denied` when the key is not allowed."""

    __slots__ = ("connected", "denied", "reason")

    def __init__(self, connected: bool = False, reason: str = "", denied: bool = False) -> None:
        self.connected = connected
        self.reason = reason
        self.denied = denied


class UplinkSocket:
    """Connects at once. A peer that answers no ping for about three times `ping_seconds` is lost."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: Endpoint, token: WorkerToken, ping_seconds: float
    ) -> None:
        ping = max(1, int(ping_seconds * 1000))
        self._socket = socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.CURVE_SERVERKEY, token.server_key.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, token.keys.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, token.keys.secret.encode())
        socket.setsockopt(zmq.RECONNECT_IVL, -1)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_FRAME)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        socket.setsockopt(zmq.HEARTBEAT_IVL, ping)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * ping)
        socket.setsockopt(zmq.HEARTBEAT_TTL, 3 * ping)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.IPV6, 1)
        self._monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | sum(_ENDED))
        self.fds = (int(socket.getsockopt(zmq.FD)), int(self._monitor.getsockopt(zmq.FD)))
        socket.connect(str(endpoint))

    def news(self) -> Iterator[News]:
        """What has become of the connection since the last look."""
        while True:
            try:
                number, value = _EVENT.unpack(self._monitor.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                return
            if number == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                yield News(connected=True)
            elif number in _ENDED:
                denied = number == zmq.EVENT_HANDSHAKE_FAILED_AUTH and value == DENIED
                yield News(reason=_ENDED[number], denied=denied)

    def receive(self) -> list[bytes] | None:
        """The parts of a message, None when none waits."""
        try:
            return self._socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def send(self, data: bytes) -> bool:
        """False when it is not connected or the server does not take it."""
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()
