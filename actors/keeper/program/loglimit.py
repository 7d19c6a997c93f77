"""A log that passes its cap: the head and the last lines stay, the middle is dropped, and the log says so.

The program writes into the file itself, so that nothing of ours stands in its way: a pipe would end it together
with its reader, a file size limit would kill it with SIGXFSZ. It appends (O_APPEND), so the keeper may cut the file
at any moment: the next write goes behind the cut.
"""

from __future__ import annotations

import os
import time

from gpuyard.actors.keeper.program import records

# Of what came last before a cut, this much is kept, in bytes.
KEPT_TAIL = 65_536
# Looks at the size come the sooner the nearer the cap is, at this assumed rate, and within these seconds.
BYTES_PER_SECOND = 1_000_000_000
SHORTEST, LONGEST = 0.25, 10.0


class LogLimit:
    """`cap` in bytes; `log_fd` is opened for appending, `dir_fd` is the folder of the log."""

    def __init__(self, dir_fd: int, log_fd: int, cap: int) -> None:
        self._dir_fd = dir_fd
        self._log_fd = log_fd
        self._cap = cap
        self._passed = False
        self.next_look = time.monotonic() + self._pause(0)

    def look(self) -> None:
        """Cut the log if it is too long. A full disk is no reason to fail: there is another look."""
        size = 0
        try:
            size = os.fstat(self._log_fd).st_size
            if size > self._allowed():
                self._cut()
                size = self._cap
        except OSError:
            pass
        self.next_look = time.monotonic() + self._pause(size)

    def _allowed(self) -> int:
        """Up to the cap all is let be; once it was passed, a few tails' worth behind it."""
        return self._cap + 16 * KEPT_TAIL if self._passed else self._cap

    def _cut(self) -> None:
        tail = read_tail(self._dir_fd, KEPT_TAIL)
        self._passed = True
        os.ftruncate(self._log_fd, self._cap)
        said = f"\n[gpuyard] the log passed its cap of {self._cap >> 20} MB: from here on only its end is kept\n"
        records.write_all(self._log_fd, said.encode("ascii") + tail[tail.find(b"\n") + 1 :])

    def _pause(self, size: int) -> float:
        return max(SHORTEST, min(LONGEST, (self._allowed() - size) / BYTES_PER_SECOND))


def say(log_fd: int, text: str) -> None:
    """A line of ours in the run's log, if there is room for it."""
    try:
        records.write_all(log_fd, f"[gpuyard] {text}\n".encode("utf-8", "replace"))
    except OSError:
        pass


def read_tail(dir_fd: int, limit: int) -> bytes:
    """The last `limit` bytes of the log; nothing when it is gone."""
    try:
        fd = os.open(records.LOG, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError:
        return b""
    try:
        size = os.fstat(fd).st_size
        return os.pread(fd, limit, max(0, size - limit))
    finally:
        os.close(fd)
