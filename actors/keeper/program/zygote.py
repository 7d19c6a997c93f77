"""The zygote: a warm, single-threaded interpreter that forks a spare keeper whenever the supervisor asks for one.

A fresh interpreter takes 20 ms and more to be ready, a fork of a warm one a fraction of that. The zygote knows
nothing of runs: spares speak with the supervisor themselves. When the supervisor is gone the socket ends, and the
zygote with it; keepers live on.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from typing import NoReturn

from gpuyard.actors.keeper.program import cgroup, life, spare


def serve(data_dir: str, control_groups: bool = True) -> None:
    """One spare for each message on descriptor 0, until its other end is closed."""
    requests = _take_stdin()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a keeper: its records say it all
    spare.name_process("gpuyard-zygote")
    group_base = cgroup.own_path() if control_groups else None
    gc.collect()
    gc.freeze()
    while requests.recv(16):
        if os.fork() == 0:
            requests.close()
            _be_a_keeper(data_dir, group_base)


def _take_stdin() -> socket.socket:
    """The socket under a number that no program will ever see; descriptor 0 becomes /dev/null."""
    requests = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
    return requests


def _be_a_keeper(data_dir: str, group_base: str | None) -> NoReturn:
    """The forked child's whole life: one run after the other, as long as its supervisor lives."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        keeper = spare.Keeper(data_dir, group_base)
        while (work := spare.next_run(keeper)) is not None:
            life.keep(keeper, work)
        code = 0
    except SystemExit:
        code = 0
    except BaseException:  # noqa: BLE001 - the end of a process: say why, whatever it was
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)
