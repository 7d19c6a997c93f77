"""Whose process is that? The helper asks this for every pid that the driver lists.

A process is of a run when it, or an ancestor, carries the run's fence in its environment. Programs that rewrite their
title (setproctitle) overwrite their environment with it, so an answer is kept for the life of the process.
"""

from __future__ import annotations

import pwd
from functools import cache
from pathlib import Path

from gpuyard.actors import procfs
from gpuyard.actors.model.gpu_reading import ReadProcess


class Owners:
    """`jobs_dir`: only runs of the server whose jobs live there count as ours; None takes any server's."""

    def __init__(self, jobs_dir: str | None = None) -> None:
        self._jobs_dir = jobs_dir
        self._fences: dict[tuple[int, int], int] = {}

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
            fence = procfs.fence_of(pid, self._jobs_dir)
            if fence is None:
                return None
            self._fences[key] = fence
        return self._fences[key]


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
