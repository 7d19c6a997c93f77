"""What /proc tells about processes: pure reading, standard library only (the keeper program uses it too).

A pid names a process only together with its start time (clock ticks since boot, field 22 of /proc/PID/stat): the
kernel hands pids out again. Processes vanish at any moment, so every question has an answer for "is gone"; what
cannot be read for another reason (no descriptor left) raises OSError, because it is no such answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

# A run's processes are known by these two together: fences of two databases on one machine may be equal.
FENCE = "GPUYARD_FENCE"
JOB_DIR = "GPUYARD_JOB_DIR"

# How the kernel says that a process is gone: its folder is, or was when it was read.
GONE = (FileNotFoundError, ProcessLookupError)

# More generations than any real process tree has.
_GENERATIONS = 64


class Stat(NamedTuple):
    """A line of /proc/PID/stat. `state` is one letter (Z: ended, not yet reaped), `start` is in clock ticks."""

    state: str
    ppid: int
    pgid: int
    start: int


def boot_id() -> str:
    """Identity of this boot of the kernel (containers see that of their host)."""
    return _read("/proc/sys/kernel/random/boot_id").decode("ascii").strip()


def incarnation() -> str:
    """Identity of this life of the host, or of the container where we are in one: boot id, pid namespace, start time
    of its first process. A container's boot id is that of its host, and outlives it."""
    first = start_time(1)
    return f"{boot_id()}:{os.stat('/proc/self/ns/pid').st_ino}:{first if first is not None else 0}"


def stat(pid: int) -> Stat | None:
    """None when there is no such process."""
    try:
        line = _read(f"/proc/{pid}/stat")
    except GONE:
        return None
    # The name may hold anything, spaces and ")" too: the fields begin behind the last ")".
    fields = line[line.rfind(b")") + 2 :].split()
    return Stat(fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[19])) if len(fields) > 19 else None


def start_time(pid: int) -> int | None:
    """Clock ticks since boot, also of a zombie; None when there is no such process."""
    found = stat(pid)
    return found.start if found else None


def catches(pid: int, number: int) -> bool:
    """Has this process a handler for the signal? False when it is gone."""
    try:
        status = _read(f"/proc/{pid}/status")
    except (*GONE, PermissionError):
        return False
    at = status.find(b"SigCgt:")
    return at >= 0 and bool(int(status[at + 7 :].split(maxsplit=1)[0], 16) >> (number - 1) & 1)


def pids() -> list[int]:
    """All processes that are visible here."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def processes() -> dict[int, Stat]:
    """The process table: one look, not an atomic one."""
    return {pid: found for pid in pids() if (found := stat(pid))}


def children(pid: int) -> list[int]:
    """Direct children."""
    return [child for child, found in processes().items() if found.ppid == pid]


def descendants(root: int) -> dict[int, Stat]:
    """All processes below `root`, parents before their children."""
    table = processes()
    below: dict[int, list[int]] = {}
    for pid, found in table.items():
        below.setdefault(found.ppid, []).append(pid)
    result: dict[int, Stat] = {}
    generation = [root]
    while generation:
        generation = [child for parent in generation for child in below.get(parent, ()) if child not in result]
        result.update((pid, table[pid]) for pid in generation)
    return result


def environ_value(pid: int, name: str) -> str | None:
    """A variable of the environment that the process was started with; None when unset, unreadable or gone."""
    return _value(_environ(pid), name)


def has_fence(pid: int, fence: int, jobs_dir: str) -> bool:
    """Was this process started within run `fence` of the data folder that holds `jobs_dir`?"""
    block = _environ(pid)
    return _value(block, FENCE) == str(fence) and _below(_value(block, JOB_DIR), jobs_dir)


def carriers(fence: int, jobs_dir: str) -> Iterator[int | None]:
    """The pids that carry the fence; a None after each other process, so that a caller may pause."""
    for pid in pids():
        yield pid if has_fence(pid, fence, jobs_dir) else None


def processes_with_fence(fence: int, jobs_dir: str) -> list[int]:
    """All at once: about 20 µs for each process of the machine."""
    return [pid for pid in carriers(fence, jobs_dir) if pid is not None]


def fence_of(pid: int, jobs_dir: str | None = None) -> int | None:
    """The run that a process belongs to, by its environment or its ancestors'; None when it belongs to none.

    With `jobs_dir` only runs of that data folder count.
    """
    for _ in range(_GENERATIONS):
        block = _environ(pid)
        value = _value(block, FENCE)
        if value and _is_fence(value) and (jobs_dir is None or _below(_value(block, JOB_DIR), jobs_dir)):
            return int(value)
        found = stat(pid)
        if found is None or found.ppid <= 1:
            return None
        pid = found.ppid
    return None


def _is_fence(value: str) -> bool:
    """Any program may carry anything under that name: a fence is a number of 64 bits."""
    return value.isascii() and value.isdecimal() and len(value) <= 19


def holders(path: str) -> list[int]:
    """The processes that have the file `path` open (as far as we may look)."""
    return [pid for pid in pids() if _has_open(pid, path)]


def _has_open(pid: int, path: str) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        return any(_link(f"{folder}/{fd}") == path for fd in os.listdir(folder))
    except (*GONE, PermissionError):
        return False


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except (*GONE, PermissionError):
        return None


def _environ(pid: int) -> bytes:
    try:
        return _read(f"/proc/{pid}/environ")
    except (*GONE, PermissionError):
        return b""


def _value(block: bytes, name: str) -> str | None:
    key = name.encode() + b"="
    at = 0 if block.startswith(key) else block.find(b"\0" + key) + 1
    if at == 0 and not block.startswith(key):
        return None
    end = block.find(b"\0", at)
    return os.fsdecode(block[at + len(key) : end if end >= 0 else None])


def _below(path: str | None, folder: str) -> bool:
    return path is not None and path.startswith(folder.rstrip("/") + "/")


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65_536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)
