"""Processes by pid and start time, held by pidfd: what is signalled is what was meant, or nothing."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress

from gpuyard.actors.procfs import start_time


def open_process(pid: int, start: int) -> int | None:
    """A pidfd of the process that has this pid and start time and still runs; None when it is gone.

    Opened first and compared then: the pidfd keeps meaning the same process, whatever happens to the pid.
    """
    if pid <= 0:
        return None
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    if start_time(pid) == start and not has_ended(fd):
        return fd
    os.close(fd)
    return None


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
