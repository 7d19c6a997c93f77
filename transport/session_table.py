"""The server's sessions by connection, bounded for each key, and which connection reaches which worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from gpuyard.actors.model.errors import Unavailable
from gpuyard.transport.session import ServerSession

# Connections that one key may have: the newest count.
PER_KEY: Final = 8


class SessionTable:
    """A connection is named by its routing id, which proves nothing: a session belongs to (routing id, key).

    A User-Id is a worker's id, or that with a dot and the number of its key: whoever is to be reached is the worker."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, ServerSession] = {}
        self._routes: dict[str, deque[bytes]] = {}
        # Worker → the connection that greeted last, or was preferred since.
        self._reached_by: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[tuple[bytes, ServerSession]]:
        return iter(list(self._sessions.items()))

    def get(self, route: bytes) -> ServerSession | None:
        return self._sessions.get(route)

    def add(self, route: bytes, session: ServerSession) -> list[bytes]:
        """Returns the connections that are forgotten for it: the id was another key's, or the key has too many."""
        lost = [route] if self.forget(route) else []
        self._sessions[route] = session
        routes = self._routes.setdefault(session.key, deque())
        routes.append(route)
        if len(routes) > PER_KEY:
            lost.append(routes[0])
            self.forget(routes[0])
        return lost

    def forget(self, route: bytes) -> bool:
        """False when there was none."""
        session = self._sessions.pop(route, None)
        if session is None:
            return False
        routes = self._routes[session.key]
        routes.remove(route)
        if not routes:
            del self._routes[session.key]
        self.leave(route, session)
        return True

    def prefer(self, user_id: str, route: bytes) -> None:
        """From now on the worker is reached by this connection."""
        self._reached_by[_worker(user_id)] = route

    def leave(self, route: bytes, session: ServerSession) -> None:
        """The worker is reached by it no more."""
        if self._reached_by.get(_worker(session.user_id)) == route:
            del self._reached_by[_worker(session.user_id)]

    def reach(self, user_id: str) -> bytes:
        """The connection of a worker. Raises Unavailable."""
        route = self._reached_by.get(_worker(user_id))
        if route is None or not self._sessions[route].may_send():
            raise Unavailable(f"worker {user_id} is not connected: try again when it is back")
        return route

    def open(self) -> int:
        """How many have greeted and are not known to be gone."""
        return sum(session.may_send() for session in self._sessions.values())


def _worker(user_id: str) -> str:
    return user_id.partition(".")[0]
