"""The keeper's line to the supervisor: orders come in, news goes out, nothing of it ever waits.

What is not heard is found in the files.
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import Any

from gpuyard.actors.keeper.program import records


class Link:
    """A SEQPACKET connection, made in advance. `first` while it is still that one: the supervisor that forked us."""

    def __init__(self, sockets_dir: str) -> None:
        self._sockets_dir = sockets_dir
        self._socket: socket.socket | None = None
        self.first = self._connect()

    def send(self, data: bytes) -> bool:
        """True when the supervisor's socket took it; tries the next supervisor when ours is gone."""
        if self._try(data):
            return True
        self.first = False
        return self._connect() and self._try(data)

    def order(self) -> dict[str, Any] | None:
        """Wait for an order; None when the supervisor is gone or needs no spare.

        A small order is the message itself, a large one lies in the memory file that comes with it.
        """
        if self._socket is None:
            return None
        size = socket.CMSG_SPACE(array.array("i").itemsize)
        data, extras, _, _ = self._socket.recvmsg(records.INLINE_ORDER + 1, size, socket.MSG_CMSG_CLOEXEC)
        for _, _, payload in extras:
            fds = array.array("i")
            fds.frombytes(payload)
            with open(fds[0], "rb") as file:
                file.seek(0)
                data = file.read()
        return json.loads(data) if data else None

    def _connect(self) -> bool:
        try:
            # Through a descriptor of the folder: an address may have 107 bytes, a path more.
            folder = os.open(self._sockets_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        new = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            new.connect(f"/proc/self/fd/{folder}/{records.SUPERVISOR_SOCKET}")
        except OSError:
            new.close()
            return False
        finally:
            os.close(folder)
        self._socket = new
        return True

    def _try(self, data: bytes) -> bool:
        if self._socket is None:
            return False
        try:
            return self._socket.send(data, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT) == len(data)
        except OSError:
            self._socket.close()
            self._socket = None
            return False
