"""Did the kernel end a process of ours for lack of memory? Its counters, read before and after."""

from __future__ import annotations


def oom_kills() -> int:
    """How many processes the kernel ended so far: those of our control group where it counts them, else all."""
    for path, key in (*_group_counters(), ("/proc/vmstat", "oom_kill")):
        value = _value(path, key)
        if value is not None:
            return value
    return 0


def _group_counters() -> list[tuple[str, str]]:
    """Where version 2 and version 1 of the control groups have the counter, by the usual mount points."""
    found = []
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                if not controllers:
                    found.append((f"/sys/fs/cgroup{path}/memory.events", "oom_kill"))
                elif "memory" in controllers.split(","):
                    found.append((f"/sys/fs/cgroup/memory{path}/memory.oom_control", "oom_kill"))
    except OSError:
        pass
    return found


def _value(path: str, key: str) -> int | None:
    try:
        with open(path, encoding="utf-8") as file:
            return next((int(line.split()[1]) for line in file if line.split()[0] == key), None)
    except (OSError, ValueError, IndexError):
        return None
