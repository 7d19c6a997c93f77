"""The keeper's one line to the supervisor: news, sent without waiting. What is not heard is found in the files."""

from __future__ import annotations

import os
import socket

from gpuyard.actors.keeper.program import records


class Nudge:
    """Connected in advance; connects anew once when the supervisor has been restarted meanwhile."""

    def __init__(self, sockets_dir: str) -> None:
        self._sockets_dir = sockets_dir
        self._socket: socket.socket | None = None

    def connect(self) -> bool:
        self._socket = None
        try:
            # Through a descriptor of the folder: an address may have 107 bytes, a path more.
            folder = os.open(self._sockets_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            link.connect(f"/proc/self/fd/{folder}/{records.NUDGE_SOCKET}")
        except OSError:
            link.close()
            return False
        finally:
            os.close(folder)
        self._socket = link
        return True

    def send(self, data: bytes) -> bool:
        """True when the supervisor's socket took it."""
        return self._try(data) or (self.connect() and self._try(data))

    def _try(self, data: bytes) -> bool:
        if self._socket is None:
            return False
        try:
            return self._socket.send(data, socket.MSG_NOSIGNAL) == len(data)
        except OSError:
            self._socket.close()
            self._socket = None
            return False
