"""How long a run may live without word from the server. Only runs on workers have a lease, local ones have none.

The file `lease` in the run's folder holds the moment at which it ends (CLOCK_BOOTTIME, seconds). Whoever hears the
server writes a later one into it; the keeper reads it when the moment that it knows has come, and not before: a
renewal wakes nobody, and a keeper that was frozen finds the newest word. The moment stands there twice, so that a
reader notices when it meets a half-written one; it is written in place, since that needs no room on a full disk.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

FILE = "lease"

# When this part of the lease is left, the program is asked to save a checkpoint.
LAST_PART = 1 / 3

_TFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """`struct itimerspec`: interval, then the moment."""

    _fields_ = [(name, ctypes.c_long) for name in ("interval_s", "interval_ns", "at_s", "at_ns")]


class Lease:
    """`fd` is readable when there is something to look at. It counts suspended time too: a host that slept for longer
    than a lease stops its runs when it wakes."""

    def __init__(self, dir_fd: int, terms: dict[str, Any]) -> None:
        self.until = float(terms["until"])
        self.seconds = float(terms["seconds"])
        self.signal: str | None = terms["signal"]
        self.grace = float(terms["grace"])
        self._dir_fd = dir_fd
        self._asked_for: float | None = None  # the lease for which a checkpoint was asked
        self.fd = _libc.timerfd_create(time.CLOCK_BOOTTIME, _TFD_FLAGS)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "this system has no timer that counts suspended time")
        self._arm()

    def look(self) -> str:
        """`lapsed`, `checkpoint` (ask for one now), or nothing; the timer is set for the next look."""
        self.until = max(self.until, read(self._dir_fd) or 0.0)
        now = boottime()
        if now >= self.until:
            return "lapsed"
        asked = self.signal is not None and now >= self._checkpoint_at() and self._asked_for != self.until
        if asked:
            self._asked_for = self.until
        self._arm()
        return "checkpoint" if asked else ""

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _checkpoint_at(self) -> float:
        return self.until - self.seconds * LAST_PART

    def _arm(self) -> None:
        waits = self.signal is not None and self._asked_for != self.until
        at = max(self._checkpoint_at() if waits else self.until, 0.001)  # zero would disarm it
        whole = int(at)
        spec = _Spec(0, 0, whole, int((at - whole) * 1e9))
        _libc.timerfd_settime(self.fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None)


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def no_word(seconds: float) -> str:
    return f"no word from the server for {round(seconds, 1):.12g} s"


def read(dir_fd: int) -> float | None:
    """The moment in the file of this folder; None when there is none that can be read."""
    try:
        fd = os.open(FILE, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    except OSError:
        return None
    try:
        for _ in range(100):
            words = os.read(fd, 100).split()
            if len(words) == 2 and words[0] == words[1]:
                return float(words[0])
            os.lseek(fd, 0, os.SEEK_SET)
    except (OSError, ValueError):
        pass
    finally:
        os.close(fd)
    return None


def write(dir_fd: int, until: float) -> None:
    """Raises OSError."""
    fd = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    try:
        os.pwrite(fd, f"{until:020.6f} {until:020.6f}\n".encode("ascii"), 0)
    finally:
        os.close(fd)
