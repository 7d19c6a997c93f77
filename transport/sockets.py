"""Unix sockets in a private folder, whatever the length of its path.

An AF_UNIX address holds 107 bytes. A socket is therefore named through the open folder: /proc/self/fd/N/NAME.
"""

from __future__ import annotations

import os
from pathlib import Path

LINK_SOCKET = "link.sock"


class SocketFolder:
    """An open folder of sockets, for its owner only (0700). Close it after the sockets."""

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchmod(self._fd, 0o700)

    def path(self, name: str) -> str:
        """A short path of the socket `name`, valid in this process while the folder is open."""
        return f"/proc/self/fd/{self._fd}/{name}"

    def endpoint(self, name: str) -> str:
        """The same as a ZeroMQ address."""
        return f"ipc://{self.path(name)}"

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
