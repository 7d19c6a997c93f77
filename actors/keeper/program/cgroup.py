"""A control group for each run, where the system lets us have one (cgroup v2, our own group writable).

It makes two things certain that /proc alone cannot: a kill that no fork outruns (`cgroup.kill`), and the list of a
run's processes after its keeper was killed, whatever they did to their environment. No controller is enabled, so
nothing is limited or accounted. The keeper enters in advance, so that the program is born inside; it leaves only
before a kill and at its end.
"""

from __future__ import annotations

import os
import time

PREFIX = "gpuyard-"


class Group:
    """One control group. Every step may be refused by the system: then the sweep through /proc has to do."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._inside = False

    def kill(self) -> bool:
        """SIGKILL to all in the group, at once. False when the kernel has no such thing (before 5.14)."""
        return _write(f"{self.path}/cgroup.kill", "1")

    def pids(self) -> list[int]:
        try:
            with open(f"{self.path}/cgroup.procs", encoding="ascii") as file:
                return [int(line) for line in file]
        except OSError:
            return []

    def enter(self) -> bool:
        """Move the calling process in; its children are born there."""
        self._inside = self._inside or _write(f"{self.path}/cgroup.procs", "0")
        return self._inside

    def leave(self) -> bool:
        """Move the calling process one level up."""
        self._inside = self._inside and not _write(os.path.dirname(self.path) + "/cgroup.procs", "0")
        return not self._inside

    def remove(self) -> None:
        """With the groups that a gpuyard inside the run left behind; one with processes stays."""
        try:
            for name in os.listdir(self.path):
                if name.startswith(PREFIX):
                    Group(f"{self.path}/{name}").remove()
            os.rmdir(self.path)
        except OSError:
            pass


def enter_new(base: str | None) -> Group | None:
    """Make a group below `base` (see `own_path`) and move the calling process in. None where that is not possible."""
    if base is None:
        return None
    group = Group(f"{base}/{PREFIX}{os.getpid()}-{time.time_ns()}")
    try:
        os.mkdir(group.path, 0o755)
    except OSError:
        return None
    if os.path.exists(f"{group.path}/cgroup.kill") and group.enter():
        return group
    group.remove()
    return None


def remove_empty() -> None:
    """Remove what killed keepers left behind; a group with processes refuses."""
    base = own_path()
    if base is None:
        return
    for name in os.listdir(base):
        if name.startswith(PREFIX):
            Group(f"{base}/{name}").remove()


def own_path() -> str | None:
    """The folder of the calling process's v2 group, if it is writable."""
    try:
        with open("/proc/self/cgroup") as file:
            inside = next(line[3:].rstrip("\n") for line in file if line.startswith("0::"))
        with open("/proc/self/mountinfo") as file:
            mounts = file.read().splitlines()
    except (OSError, StopIteration):
        return None
    for fields in map(str.split, mounts):
        root, point = fields[3].rstrip("/"), fields[4]
        if fields[fields.index("-") + 1] == "cgroup2" and (inside + "/").startswith(root + "/"):
            path = point + inside[len(root) :].rstrip("/")
            return path if os.access(f"{path}/cgroup.procs", os.W_OK) and os.access(path, os.W_OK) else None
    return None


def _write(path: str, text: str) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, text.encode("ascii"))
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
