"""A ROUTER behind CURVE with its doorkeeper and the monitor that tells of failed handshakes. Only the sockets.

The doorkeeper stands before the socket listens, so nobody is let in unasked.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import Final

import zmq

from gpuyard.actors.model.errors import InvalidInput
from gpuyard.transport import wire_codec as wire
from gpuyard.transport.causes import Cause, Tally
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.zap import DOMAIN, Doorkeeper

# Frames that may wait for one peer.
HIGH_WATER: Final = 1_000
HANDSHAKE_MS: Final = 5_000
LINGER_MS: Final = 200
BACKLOG: Final = 1_024
# As plain numbers: these are used for each frame, and an enum's arithmetic would cost more than the call.
_NOBLOCK: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)
_EVENT: Final = struct.Struct("=HI")
_FAILED: Final = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL


class Sent(Enum):
    """YES, or why not: the peer is GONE, or SLOW (its queue is full)."""

    YES = "yes"
    GONE = "gone"
    SLOW = "slow"


class ServerSocket:
    """Listens at once. Raises InvalidInput when the address can't be had."""

    def __init__(self, bind: Endpoint, keys: KeyPair, ping_seconds: float, tally: Tally) -> None:
        self._tally = tally
        self._zmq: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self.door = Doorkeeper(self._zmq, tally)
        self._socket = self._zmq.socket(zmq.ROUTER)
        self._monitor = self._socket.get_monitor_socket(_FAILED | zmq.EVENT_DISCONNECTED)
        try:
            self._set_options(bind, keys, max(1, int(ping_seconds * 1000)))
            self._socket.bind(str(bind))
        except zmq.ZMQError as error:
            self.close()
            raise InvalidInput(f"workers can't be listened for on {bind}: {error}; take another --zmq-bind") from None
        self.port = Endpoint.parse(self._socket.getsockopt_string(zmq.LAST_ENDPOINT)).port
        self.fd = int(self._socket.getsockopt(zmq.FD))
        self.fds = (self.door.fd, self.fd, int(self._monitor.getsockopt(zmq.FD)))

    def _set_options(self, bind: Endpoint, keys: KeyPair, ping: int) -> None:
        socket = self._socket
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_FRAME)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.HEARTBEAT_IVL, ping)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * ping)
        socket.setsockopt(zmq.HEARTBEAT_TTL, 3 * ping)
        socket.setsockopt(zmq.BACKLOG, BACKLOG)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.IPV6, int(bind.ipv6))

    def look(self, most: int) -> bool:
        """Answer who knocks, count who failed to; True when more may wait."""
        more = self.door.serve(most)
        for _ in range(most):
            try:
                number, _ = _EVENT.unpack(self._monitor.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                return more
            self._tally.add(Cause.ENDED if number == zmq.EVENT_DISCONNECTED else Cause.HANDSHAKE)
        return True

    def waits(self) -> bool:
        """Can anything be read? (Cheaper than to try.)"""
        return bool(int(self._socket.get(_EVENTS)) & _POLLIN)

    def receive(self) -> tuple[bytes, zmq.Frame]:
        """The routing id and the first part of a message; one waits. All its parts are there once its first is."""
        return self._socket.recv(_NOBLOCK), self._socket.recv(_NOBLOCK, copy=False)

    def skip(self) -> bool:
        """Throw away one more part; False when it was the message's last."""
        return self._socket.recv(_NOBLOCK, copy=False).more

    def send(self, route: bytes, data: bytes) -> Sent:
        try:
            self._socket.send(route, _MORE)
            self._socket.send(data, _NOBLOCK)
        except zmq.Again:
            return Sent.SLOW
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return Sent.GONE
        return Sent.YES

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()
        self.door.close()
        self._zmq.term()


def property_of(part: zmq.Frame, name: str) -> str:
    """What libzmq knows of the connection a part came by; "" when it does not."""
    try:
        return str(part.get(name))
    except zmq.ZMQError:
        return ""
