"""ZAP: who may connect. The handler of a ZeroMQ context, served from the inbox of the actor that owns the socket.

libzmq asks it at every handshake of a CURVE server socket. Because the sockets enforce their domain, nobody gets in
while nobody answers here: no handler, a dead one or a stuck one refuses everybody (measured; without
`ZAP_ENFORCE_DOMAIN` a missing handler lets any key in). The User-Id that it gives a connection is the public key
itself, so that each message can be checked against the allow-list of that moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import zmq
from zmq.utils import z85

from gpuyard.transport.causes import Cause, Tally

ENDPOINT: Final = "inproc://zeromq.zap.01"
DOMAIN: Final = "gpuyard"
VERSION: Final = b"1.0"
KEY_BYTES: Final = 32


def decide(request: Sequence[bytes], keys: Mapping[str, str]) -> tuple[list[bytes], Cause | None]:
    """The reply to a ZAP request (RFC 27), and why it is a refusal."""
    number = request[1] if len(request) > 1 else b""
    cause = _objection(request, keys)
    if cause is None:
        return [VERSION, number, b"200", b"OK", z85.encode(request[6]), b""], None
    return [VERSION, number, b"400", b"not allowed", b"", b""], cause


def _objection(request: Sequence[bytes], keys: Mapping[str, str]) -> Cause | None:
    if len(request) != 7 or request[0] != VERSION or request[2] != DOMAIN.encode() or request[5] != b"CURVE":
        return Cause.WRONG_DOMAIN
    if len(request[6]) != KEY_BYTES or z85.encode(request[6]).decode() not in keys:
        return Cause.UNKNOWN_KEY
    return None


class Doorkeeper:
    """The handler's socket. `keys` is the allow-list: public key (Z85) → who that is; empty refuses everybody."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], tally: Tally) -> None:
        self.keys: dict[str, str] = {}
        self._tally = tally
        self._socket = context.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(ENDPOINT)
        except zmq.ZMQError:
            self._socket.close()
            raise
        self.fd = int(self._socket.getsockopt(zmq.FD))

    def serve(self, most: int) -> bool:
        """Answer those who knock, at most so many; True when more may wait."""
        for _ in range(most):
            try:
                request = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return False
            reply, cause = decide(request, self.keys)
            if cause is not None:
                self._tally.add(cause)
            self._socket.send_multipart(reply)
        return True

    def close(self) -> None:
        self._socket.close()
