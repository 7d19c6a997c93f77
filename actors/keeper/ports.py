"""A free port for each run (MASTER_PORT): two runs never get the same, and nobody listens there when it is chosen.

The default of the launchers, 29500, clashes as soon as two run on a host. Nothing is kept open meanwhile: the run
itself must be able to bind it. One port is chosen ahead, so that a start does not wait for it.
"""

from __future__ import annotations

import random
import socket


class Ports:
    """The ports leased to live runs, by fence."""

    def __init__(self, first: int, last: int) -> None:
        self._first = first
        self._count = last - first + 1
        self._leased: dict[int, int] = {}
        self._next: int | None = None

    def lease(self, fence: int) -> int:
        """The port that was chosen ahead, else one chosen now. Raises OSError when none is free."""
        port = self._next if self._next is not None else self._choose()
        self._next = None
        self._leased[fence] = port
        return port

    def look_ahead(self) -> None:
        """Choose (anew) the port of the next run."""
        self._next = None
        try:
            self._next = self._choose()
        except OSError:
            pass  # the next lease says it

    def keep(self, fence: int, port: int) -> None:
        """An adopted run holds `port`."""
        self._leased[fence] = port
        if port == self._next:
            self._next = None

    def release(self, fence: int) -> None:
        self._leased.pop(fence, None)

    def _choose(self) -> int:
        """The search begins anywhere: several servers of one host seldom meet."""
        taken = set(self._leased.values())
        start = random.randrange(self._count)
        for step in range(self._count):
            port = self._first + (start + step) % self._count
            if port not in taken and _is_free(port):
                return port
        raise OSError("no free port is left for MASTER_PORT")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
