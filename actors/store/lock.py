"""One supervisor a database: a lock file beside it, held with flock as long as the supervisor lives.

The kernel gives the lock back however its holder ends. The file also remembers what the last holder saw, which
tells a database that was rolled back behind our back (`database.claim`).
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import msgspec

from gpuyard.actors.model.errors import DatabaseRefused


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the last holder of the lock wrote: who it was, and the epochs of the database that it opened."""

    pid: int = 0
    db_epoch: int = 0
    supervisor: int = 0


def lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


class SupervisorLock:
    """The lock of the database at `path`. Raises DatabaseRefused, naming the process that has it.

    A holder in this same process is waited for, up to `patience` seconds: an actor that is being restarted.
    """

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        self._file = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        while not self._take():
            holder = self._read().pid
            if holder != os.getpid() or time.monotonic() > deadline:
                os.close(self._file)
                raise DatabaseRefused(
                    f"{path} is in use by another supervisor (pid {holder or 'unknown'}):"
                    " stop that one first, or take another --data-dir",
                    path=str(path),
                    pid=holder,
                )
            time.sleep(0.01)
        self.before = self._read()
        # At once, so that whoever comes now is told of us.
        self.remember(msgspec.structs.replace(self.before, pid=os.getpid()))

    def _take(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def remember(self, seen: Seen) -> None:
        """Write down who holds the lock now, and what it saw."""
        data = msgspec.json.encode(seen) + b"\n"
        os.pwrite(self._file, data, 0)
        os.ftruncate(self._file, len(data))

    def release(self) -> None:
        os.close(self._file)

    def _read(self) -> Seen:
        try:
            return msgspec.json.decode(os.pread(self._file, 4096, 0), type=Seen)
        except msgspec.DecodeError:
            return Seen()
