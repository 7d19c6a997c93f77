"""Processes by pid and start time, held by pidfd: what is signalled is what was meant, or nothing."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress

from gpuyard.actors.procfs import start_time, stat


def open_process(pid: int, start: int) -> int | None:
    """A pidfd of the process that has this pid and start time and still runs; None when it is gone.

    Opened first and compared then: the pidfd keeps meaning the same process, whatever happens to the pid. Raises
    OSError when that cannot be told (no descriptor left).
    """
    if pid <= 0:
        return None
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if start_time(pid) == start and not has_ended(fd):
        return fd
    os.close(fd)
    return None


def lives(pid: int, start: int) -> bool:
    """Does the process with this pid and start time still run? A zombie does not."""
    found = stat(pid)
    return found is not None and found.start == start and found.state not in "ZX"


def has_ended(pidfd: int) -> bool:
    """True for a zombie too."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def send(pidfd: int, *signals: signal.Signals) -> None:
    """One that has just ended is no error."""
    with suppress(OSError):
        for number in signals:
            signal.pidfd_send_signal(pidfd, number)


def send_to(pid: int, start: int, *signals: signal.Signals) -> None:
    """To the process with this pid and start time, if it still runs."""
    fd = open_process(pid, start)
    if fd is not None:
        send(fd, *signals)
        os.close(fd)
