"""A free port for each run (MASTER_PORT): two runs never get the same, and nobody listens there now.

The default of the launchers, 29500, clashes as soon as two run on a host. Nothing is kept open meanwhile: the run
itself must be able to bind it.
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

    def lease(self, fence: int) -> int:
        """A free port. The search begins anywhere: several servers of one host seldom meet."""
        taken = set(self._leased.values())
        start = random.randrange(self._count)
        for step in range(self._count):
            port = self._first + (start + step) % self._count
            if port not in taken and _is_free(port):
                self._leased[fence] = port
                return port
        raise OSError("no free port is left for MASTER_PORT")

    def keep(self, fence: int, port: int) -> None:
        """An adopted run holds `port`."""
        self._leased[fence] = port

    def release(self, fence: int) -> None:
        self._leased.pop(fence, None)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True
