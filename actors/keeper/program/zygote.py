"""The zygote: warm, single-threaded, and always one spare keeper ahead.

A fresh interpreter takes 20 ms and more to be ready, a fork of a warm one a fraction of that, and a spare that waits
with all it needs nothing at all. Spares read their orders themselves, straight from the supervisor's socket, so an
order costs one hop; the zygote only sees that its spare was taken, and makes the next. When the supervisor is gone
the socket ends: zygote and spare end too, keepers live on.
"""

from __future__ import annotations

import gc
import os
import select
import shutil
import signal
import sys
import traceback
from typing import NoReturn

from gpuyard.actors.keeper.program import cgroup, life, records, spare

# Spares that die before they are taken (a full disk, no memory) are made again after a pause, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0


def serve(data_dir: str) -> None:
    """Until the supervisor's end of the socket is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are nobody's children to wait for
    spare.name_process("gpuyard-zygote")
    group_base = cgroup.own_path()
    orders = _take_stdin()
    gc.disable()
    gc.freeze()
    pause = FIRST_PAUSE
    while True:
        taken, tell_taken = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(taken)
            _be_a_keeper(data_dir, group_base, orders, tell_taken)
        os.close(tell_taken)
        outcome = _outcome(orders, taken)
        os.close(taken)
        if outcome is None:
            return
        if outcome:
            pause = FIRST_PAUSE
            continue
        _remove_folder_of(data_dir, pid)
        if _ends_within(orders, pause):
            return
        pause = min(pause * 2, LONGEST_PAUSE)


def _take_stdin() -> int:
    """The socket under a number that no program will ever see; descriptor 0 becomes /dev/null."""
    orders = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
    return orders


def _outcome(orders: int, taken: int) -> bool | None:
    """Wait for the spare: True when it was taken, False when it died before, None when the supervisor is gone."""
    poll = select.poll()
    poll.register(orders, 0)  # only its end
    poll.register(taken, select.POLLIN)
    ready = dict(poll.poll())
    if taken in ready:
        return os.read(taken, 1) != b""
    return None


def _ends_within(orders: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(orders, 0)
    return bool(poll.poll(seconds * 1000))


def _remove_folder_of(data_dir: str, pid: int) -> None:
    runs = f"{data_dir}/runs"
    prefix = f"{records.SPARE_PREFIX}{pid}-"
    for name in os.listdir(runs) if os.path.isdir(runs) else ():
        if name.startswith(prefix):
            shutil.rmtree(f"{runs}/{name}", ignore_errors=True)


def _be_a_keeper(data_dir: str, group_base: str | None, orders: int, tell_taken: int) -> NoReturn:
    """The forked child's whole life."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ready = spare.prepare(data_dir, group_base)
        order = spare.wait_for_order(ready, orders, tell_taken)
        if order is not None:
            life.keep(ready, order)
        code = 0
    except BaseException:  # noqa: BLE001 - the end of a process: say why, whatever it was
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)
