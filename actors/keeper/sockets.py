"""Talking with keepers over SEQPACKET sockets: their nudges come in, stops go out. Nothing here ever waits."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpuyard.actors.keeper.program import records

# Longer than any nudge.
LONGEST_NUDGE = 262_144


class NudgeSocket:
    """Where all keepers connect to (DATA/sockets/keeper.sock)."""

    def __init__(self, folder: Path) -> None:
        self._listener = _new()
        (folder / records.NUDGE_SOCKET).unlink(missing_ok=True)
        with _through(folder) as short:
            self._listener.bind(f"{short}/{records.NUDGE_SOCKET}")
        (folder / records.NUDGE_SOCKET).chmod(0o600)
        self._listener.listen(1024)
        self._links: dict[int, socket.socket] = {}

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept(self) -> int | None:
        """The descriptor of a new keeper's connection, None when there is none (any more)."""
        try:
            link, _ = self._listener.accept()
        except OSError:
            return None
        link.setblocking(False)
        self._links[link.fileno()] = link
        return link.fileno()

    def receive(self, fd: int) -> bytes | None:
        """One nudge; b"" when there is nothing now; None when the keeper has closed (drop the descriptor)."""
        try:
            return self._links[fd].recv(LONGEST_NUDGE) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def drop(self, fd: int) -> None:
        self._links.pop(fd).close()

    def close(self) -> None:
        self._listener.close()
        for link in self._links.values():
            link.close()
        self._links.clear()


def ask_to_stop(folder: Path, reason: str, grace: float) -> bool:
    """Tell the keeper of the run in `folder` to stop it. False when nobody listens there."""
    message = json.dumps({"op": "stop", "reason": reason, "grace": grace}).encode("ascii")
    with suppress(OSError), _new() as link, _through(folder) as short:
        link.connect(f"{short}/{records.CONTROL}")
        link.send(message)
        return True
    return False


def _new() -> socket.socket:
    new = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    new.setblocking(False)
    return new


@contextmanager
def _through(folder: Path) -> Iterator[str]:
    """A short name of a folder: an address may have 107 bytes, the path of a data folder more."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
