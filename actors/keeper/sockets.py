"""The supervisor's sockets to keepers (SEQPACKET): lines of spares and keepers, and stops. Nothing here ever waits."""

from __future__ import annotations

import array
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from gpuyard.actors.keeper.program import records

# Longer than any news.
LONGEST_NEWS = 262_144


class Lines:
    """Where all keepers connect to (DATA/sockets/keeper.sock), and their connections by descriptor."""

    def __init__(self, folder: Path) -> None:
        self._listener = _new()
        (folder / records.SUPERVISOR_SOCKET).unlink(missing_ok=True)
        with _through(folder) as short:
            self._listener.bind(f"{short}/{records.SUPERVISOR_SOCKET}")
        (folder / records.SUPERVISOR_SOCKET).chmod(0o600)
        self._listener.listen(1024)
        self._lines: dict[int, socket.socket] = {}

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept(self) -> int | None:
        """The descriptor of a new line, None when nobody (else) waits. Raises OSError when there is none left."""
        try:
            line, _ = self._listener.accept()
        except BlockingIOError:
            return None
        line.setblocking(False)
        self._lines[line.fileno()] = line
        return line.fileno()

    def peer(self, fd: int) -> int:
        """The pid at the other end."""
        return int.from_bytes(self._lines[fd].getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), sys.byteorder)

    def receive(self, fd: int) -> bytes | None:
        """One message; b"" when there is nothing now; None when the keeper has closed (drop the line)."""
        try:
            return self._lines[fd].recv(LONGEST_NEWS) or None
        except BlockingIOError:
            return b""
        except OSError:
            return None

    def send_order(self, fd: int, order: dict[str, Any]) -> bool:
        """A small order is the message itself, a large one lies in a memory file beside it."""
        data, rights = _encode(order), []
        memory = -1
        if len(data) > records.INLINE_ORDER:
            memory = os.memfd_create("gpuyard-order", os.MFD_CLOEXEC)
            records.write_all(memory, data)
            data, rights = b"memory", [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))]
        try:
            self._lines[fd].sendmsg([data], rights, socket.MSG_NOSIGNAL)
        except OSError:
            return False
        finally:
            if memory >= 0:
                os.close(memory)
        return True

    def drop(self, fd: int) -> None:
        self._lines.pop(fd).close()

    def close(self) -> None:
        self._listener.close()
        for line in self._lines.values():
            line.close()
        self._lines.clear()


def ask_to_stop(folder: Path, reason: str, grace: float) -> bool:
    """Tell the keeper of the run in `folder` to stop it. False when nobody listens there."""
    message = json.dumps({"op": "stop", "reason": reason, "grace": grace}).encode("ascii")
    with suppress(OSError), _new() as line, _through(folder) as short:
        line.connect(f"{short}/{records.CONTROL}")
        line.send(message, socket.MSG_NOSIGNAL)
        return True
    return False


def _encode(order: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(order)
    except UnicodeEncodeError:  # a data folder whose name is no text
        return json.dumps(order).encode("ascii")


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
