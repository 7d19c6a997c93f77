"""The processes of a run, and how to end them all.

The keeper is the subreaper of everything below it: a process that leaves its group, its session or its parents
stays its descendant. So "no child left" means that the run's tree is empty. Signals go through pidfds, opened
before it is checked again that the process is still ours: a pid that the kernel gave away is never signalled.
"""

from __future__ import annotations

import os
import signal
import time

from gpuyard.actors.keeper.program.cgroup import Group
from gpuyard.actors.procfs import catches, descendants, stat

# One sweep gives up after this many seconds and is repeated; a fork bomb may take several.
SWEEP_SECONDS = 2.0


def terminate(spared: set[int]) -> None:
    """CONT and TERM to every descendant that is not in `spared`, and put it there."""
    for pid, found in descendants(os.getpid()).items():
        if pid not in spared:
            spared.add(pid)
            _signal(pid, found.ppid, signal.SIGCONT, signal.SIGTERM)


def signal_catchers(number: signal.Signals) -> int:
    """Send a signal to those descendants that have a handler for it: nobody dies of it. How many there are."""
    found = {pid: seen for pid, seen in descendants(os.getpid()).items() if catches(pid, number)}
    for pid, seen in found.items():
        _signal(pid, seen.ppid, number)
    return len(found)


def kill(group: Group | None) -> None:
    """KILL every descendant, those too that are being forked meanwhile."""
    if group and group.leave():
        group.kill()
    stopped: set[int] = set()
    deadline = time.monotonic() + SWEEP_SECONDS
    while True:
        table = descendants(os.getpid())
        new = table.keys() - stopped
        if not new or time.monotonic() > deadline:
            break
        # A stopped process forks no more and still counts against its limits: this wins against any fork bomb.
        for pid in new:
            _signal(pid, table[pid].ppid, signal.SIGSTOP)
        stopped |= new
    for pid, found in table.items():
        _signal(pid, found.ppid, signal.SIGKILL)


def _signal(pid: int, parent: int, *signals: signal.Signals) -> None:
    """To `pid`, if it is still the child of `parent` (or became ours when that one ended)."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        found = stat(pid)
        if found and found.ppid in (parent, os.getpid()):
            for number in signals:
                signal.pidfd_send_signal(handle, number)
    except OSError:
        pass  # it has just ended
    finally:
        os.close(handle)
