"""The listening socket as the event loop sees it: how many connections there may be, before a byte of them is read.

`protocol.py` answers in words whoever is one too many, but it sees a connection only after its TLS handshake; one that
is never finished would cost 300 KB until it is given up. So what is far beyond its bounds is closed here, at once.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from gpuyard.api.proxies import neighbourhood, networks, parsed

MAX_SOCKETS = 2_500
MAX_SOCKETS_OF_ADDRESS = 600


class Crowd:
    """How many connections of this server each address has."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted = networks(trusted)
        self._counts: Counter[str] = Counter()

    def enter(self, address: str) -> int:
        """One more; how many there are now, 0 for an address that is not counted."""
        ip = parsed(address)
        if ip is None or ip.is_loopback or any(ip in network for network in self._trusted):
            return 0
        place = neighbourhood(address)
        self._counts[place] += 1
        return self._counts[place]

    def leave(self, address: str) -> None:
        place = neighbourhood(address)
        if self._counts[place] > 1:
            self._counts[place] -= 1
        else:
            del self._counts[place]


class Doorway(socket.socket):
    """A listening socket of the same port as `listener`, which lets in so many at once."""

    most = MAX_SOCKETS
    most_of_address = MAX_SOCKETS_OF_ADDRESS

    def __init__(self, listener: socket.socket, trusted: Iterable[str] = ()) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno=os.dup(listener.fileno()))
        self._crowd = Crowd(trusted)
        self._inside = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """As any socket's; ConnectionAbortedError for one too many, which the event loop passes over."""
        connection, address = super().accept()
        name = str(address[0])
        self._inside += 1
        visitor = Visitor(connection, lambda: self._left(name))
        if self._crowd.enter(name) > self.most_of_address or self._inside > self.most:
            visitor.close()
            raise ConnectionAbortedError(f"too many connections from {name}")
        return visitor, address

    def _left(self, address: str) -> None:
        self._inside -= 1
        self._crowd.leave(address)


class Visitor(socket.socket):
    """A connection that says when it is closed."""

    def __init__(self, connection: socket.socket, left: Callable[[], None]) -> None:
        family, kind, protocol = connection.family, connection.type, connection.proto
        super().__init__(family, kind, protocol, fileno=connection.detach())
        self._left: Callable[[], None] | None = left

    def close(self) -> None:
        left, self._left = self._left, None
        super().close()
        if left is not None:
            left()
