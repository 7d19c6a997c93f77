"""A child process that dies with its parent, however the parent dies.

Two independent ways: the kernel kills it when the parent's thread that started it ends (PR_SET_PDEATHSIG), and a
pipe whose only writing end the parent holds tells its end by itself, also where the former was lost.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL at the parent's death; ends this process when it is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)


def watch(pipe: int) -> None:
    """End this process, at once and without ceremony, when the other end of `pipe` is closed."""
    threading.Thread(target=_wait_for_end, args=(pipe,), name="lifeline", daemon=True).start()


def _wait_for_end(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os._exit(1)
