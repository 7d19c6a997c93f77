"""Whose process is that? The helper asks this for every pid that the driver lists.

A process is of a run when it, or an ancestor, carries the run's fence in its environment or has the run's lock open
(keepers have, and hand it down). The environment alone is not enough: programs that set their title (setproctitle)
overwrite it.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from gpuyard.actors import procfs
from gpuyard.actors.model.gpu_reading import ReadProcess

# More generations than any real process tree has.
GENERATIONS = 64


class Owners:
    """`data_dir`: only runs of the server with this data folder count as ours; None takes any server's."""

    def __init__(self, data_dir: str | None = None) -> None:
        self._jobs_dir = None if data_dir is None else f"{data_dir}/jobs"
        runs = "/.*" if data_dir is None else re.escape(f"{os.path.realpath(data_dir)}/runs")
        self._lock = re.compile(rf"{runs}/([0-9]+)/lock")
        # For the life of a process, since neither its environment nor its ancestors can become ours later.
        self._fences: dict[tuple[int, int], int | None] = {}

    def describe(self, pid: int, memory_bytes: int | None, *, graphics: bool) -> ReadProcess:
        """What is known here of a process that the driver lists."""
        found = procfs.stat(pid)
        if found is None or _is_ending(pid):
            return ReadProcess(pid=pid, memory_bytes=memory_bytes, graphics=graphics, seen=False)
        return ReadProcess(
            pid=pid,
            memory_bytes=memory_bytes,
            graphics=graphics,
            name=_text(f"/proc/{pid}/comm"),
            user=_user(pid),
            fence=self._fence(pid, found.start),
        )

    def forget_all_but(self, pids: set[int]) -> None:
        """Keep only what is known of these: the others have ended."""
        self._fences = {key: fence for key, fence in self._fences.items() if key[0] in pids}

    def _fence(self, pid: int, start: int) -> int | None:
        key = (pid, start)
        if key not in self._fences:
            by_environment = procfs.fence_of(pid, self._jobs_dir)
            self._fences[key] = self._fence_by_lock(pid) if by_environment is None else by_environment
        return self._fences[key]

    def _fence_by_lock(self, pid: int) -> int | None:
        for ancestor in _lineage(pid):
            for path in _open_files(ancestor):
                found = self._lock.fullmatch(path)
                if found:
                    return int(found[1])
        return None


def _lineage(pid: int) -> Iterator[int]:
    """The process, its parent and so on."""
    for _ in range(GENERATIONS):
        yield pid
        found = procfs.stat(pid)
        if found is None or found.ppid <= 1:
            return
        pid = found.ppid


def _open_files(pid: int) -> Iterator[str]:
    """What it has open, as far as we may look."""
    try:
        with os.scandir(f"/proc/{pid}/fd") as links:
            for link in links:
                yield str(Path(link.path).readlink())
    except OSError:
        return


def _is_ending(pid: int) -> bool:
    """Its memory is gone, though the driver still lists it: it has no command line any more, and no environment that
    would tell whose it was."""
    return not _text(f"/proc/{pid}/cmdline")


def _text(path: str) -> str:
    try:
        return Path(path).read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""


def _user(pid: int) -> str:
    try:
        return _user_name(Path(f"/proc/{pid}").stat().st_uid)
    except OSError:
        return ""


@cache
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
