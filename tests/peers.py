"""A peer that speaks to a server's sockets for workers by hand, frame by frame, and may send what it likes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zmq

from gpuyard.actors.model.wire import PROTOCOL, Heartbeat, Sync
from gpuyard.transport import wire_codec as wire
from gpuyard.transport.keys import KeyPair

GREET = wire.pack(wire.Greet(protocol=PROTOCOL, oldest=wire.OLDEST))


class Peer:
    """A bare DEALER."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.socket = socket

    def send(self, *parts: bytes) -> None:
        self.socket.send_multipart(parts)

    def hear(self) -> Any:
        return wire.unpack_downward(self.socket.recv())

    def greet(self) -> None:
        self.send(GREET)
        assert isinstance(self.hear(), wire.Greeted)

    def beat(self, said: Heartbeat) -> Sync:
        """Say it, and get the Sync that answers it (or one that came after)."""
        self.send(wire.pack(said))
        while True:
            frame = self.hear()
            if isinstance(frame, Sync) and frame.n >= said.n:
                return frame


@contextmanager
def dialled(endpoint: str, server_key: str, keys: KeyPair | None, **options: Any) -> Iterator[Peer]:
    """Connected to `endpoint`; `keys` None: without encryption. `options` are socket options by name."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    made = context.socket(zmq.DEALER)
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.RCVTIMEO, 20_000)
    made.setsockopt(zmq.SNDTIMEO, 20_000)
    if keys is not None:
        made.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode())
        made.setsockopt(zmq.CURVE_PUBLICKEY, keys.public.encode())
        made.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
    for name, value in options.items():
        made.setsockopt(getattr(zmq, name.upper()), value)
    made.connect(endpoint)
    try:
        yield Peer(made)
    finally:
        made.close()
        context.term()
