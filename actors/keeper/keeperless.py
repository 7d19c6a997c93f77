"""A run whose keeper was killed while its processes live: found again, left alone, or ended on request.

Nobody can learn its exit code any more. Its processes are those in its control group, those that carry its fence,
and those that still hold its lock. Looking through /proc takes 20 µs for each process of the machine, so a look is
done in slices; it is due when the program ends, at each tick, and often while something is being ended.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

from gpuyard.actors.keeper import processes
from gpuyard.actors.keeper.folders import Folders
from gpuyard.actors.keeper.news import RunRecord
from gpuyard.actors.keeper.program import records
from gpuyard.actors.keeper.program.cgroup import Group
from gpuyard.actors.keeper.program.life import LEFTOVER_GRACE
from gpuyard.actors.procfs import carriers, has_fence, holders

# Seconds that one slice of a look may take, and between looks while processes are being ended.
SLICE = 0.02
WHILE_ENDING = 0.1


class Keeperless:
    """`program` is a pidfd of the program itself while it lives, to be watched; else None."""

    def __init__(self, folders: Folders, jobs_dir: str, fence: int, record: RunRecord | None) -> None:
        self.program: int | None = None
        self._folders = folders
        self._jobs_dir = jobs_dir
        self._fence = fence
        self._record = record
        self._group = Group(record.cgroup) if record and record.cgroup else None
        self._lock = str(folders.path(fence) / records.LOCK)
        self._look: Iterator[int | None] | None = None
        self._found: set[int] = set()
        self._told: set[int] = set()
        self._kill_at: float | None = None
        if record is not None:
            with suppress(OSError):  # no descriptor left: then the looks at each tick have to do
                self.program = processes.open_process(record.pid, record.start)

    def stop(self, grace: float) -> None:
        """TERM at the next look, KILL `grace` seconds from now."""
        at = time.monotonic() + grace
        self._kill_at = at if self._kill_at is None else min(at, self._kill_at)

    def look(self) -> float | None:
        """Seconds until the next look (0: at once), None when no process of the run is left."""
        if self._look is None:
            self._found = set(self._group.pids()) if self._group else set()
            self._look = carriers(self._fence, self._jobs_dir)
        until = time.monotonic() + SLICE
        for pid in self._look:
            if pid is not None:
                self._found.add(pid)
            if time.monotonic() > until:
                return 0.0
        self._look = None
        return self._judge()

    def close(self) -> None:
        if self.program is not None:
            os.close(self.program)
            self.program = None
        if self._group:
            self._group.remove()

    def _judge(self) -> float | None:
        if not self._found:
            if self._folders.lock_is_free(self._fence):
                return None
            self._found = {pid for pid in holders(self._lock) if pid != os.getpid()}
        record = self._record
        if self._kill_at is None and record is not None and not processes.lives(record.pid, record.start):
            self.stop(LEFTOVER_GRACE)  # the program has ended before its descendants
        if self._kill_at is None:
            return float("inf")
        self._end(kill=time.monotonic() >= self._kill_at)
        return WHILE_ENDING

    def _end(self, kill: bool) -> None:
        if kill and self._group:
            self._group.kill()
        for pid in self._found:
            if kill:
                self._signal(pid, signal.SIGKILL)
            elif pid not in self._told:
                self._told.add(pid)
                self._signal(pid, signal.SIGCONT, signal.SIGTERM)

    def _signal(self, pid: int, *signals: signal.Signals) -> None:
        """Through a pidfd, once it is certain that it still means a process of this run."""
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self._is_ours(pid):
                processes.send(fd, *signals)
        finally:
            os.close(fd)

    def _is_ours(self, pid: int) -> bool:
        if has_fence(pid, self._fence, self._jobs_dir) or (self._group and pid in self._group.pids()):
            return True
        return pid in holders(self._lock)
