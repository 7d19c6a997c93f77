"""A spare keeper: everything a run needs, made in advance; then it waits for the order that makes it a keeper.

The order claims the run by renaming the spare's folder to `runs/<fence>`. A folder of that name that exists already
(another keeper's, or the grave of a run that was stopped before it started) makes the rename fail, so no run can be
started twice, however often its order is repeated.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any

from gpuyard.actors.keeper.program import cgroup, records
from gpuyard.actors.keeper.program.nudge import Nudge
from gpuyard.actors.procfs import boot_id, start_time

PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36

_libc = ctypes.CDLL(None, use_errno=True)

Order = dict[str, Any]


@dataclass
class Spare:
    """What is open before the order comes. `dir_fd` stays valid when the folder is renamed; `wake` is readable
    after each signal, with the signal numbers as bytes."""

    runs_fd: int
    name: str
    dir_fd: int
    lock_fd: int
    log_fd: int
    control: socket.socket
    nudge: Nudge
    wake: int
    group: cgroup.Group | None
    pid: int
    start: int
    boot_id: str
    path: str


def name_process(name: str) -> None:
    """What `ps` and `top` show (15 bytes)."""
    _libc.prctl(PR_SET_NAME, name.encode("ascii"), 0, 0, 0)


def prepare(data_dir: str, group_base: str | None) -> Spare:
    os.setsid()
    name_process("gpuyard-spare")
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this system has no child subreaper")
    wake = _wake_on_signals()
    group = cgroup.enter_new(group_base)
    pid = os.getpid()
    runs_fd = os.open(f"{data_dir}/runs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    name = f"{records.SPARE_PREFIX}{pid}-{time.time_ns()}"
    os.mkdir(name, 0o700, dir_fd=runs_fd)
    dir_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=runs_fd)
    lock_fd = os.open(records.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    log_fd = os.open(records.LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    # Through the folder's descriptor: a path in an address may have 107 bytes, the data folder's may be longer.
    control.bind(f"/proc/self/fd/{dir_fd}/{records.CONTROL}")
    control.listen(16)
    nudge = Nudge(f"{data_dir}/sockets")
    nudge.connect()
    return Spare(
        runs_fd=runs_fd,
        name=name,
        dir_fd=dir_fd,
        lock_fd=lock_fd,
        log_fd=log_fd,
        control=control,
        nudge=nudge,
        wake=wake,
        group=group,
        pid=pid,
        start=start_time(pid) or 0,
        boot_id=boot_id(),
        path=f"{data_dir}/runs/{name}",
    )


def wait_for_order(spare: Spare, orders: int, tell_taken: int) -> Order | None:
    """The order that this spare has claimed, or None when the supervisor is gone."""
    channel = socket.socket(fileno=orders)
    while (order := _receive(channel)) is not None:
        fence = str(order["fence"])
        try:
            os.rename(spare.name, fence, src_dir_fd=spare.runs_fd, dst_dir_fd=spare.runs_fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            spare.nudge.send(records.encode("refused", {"fence": order["fence"]}))
            continue
        spare.path = spare.path.removesuffix(spare.name) + fence
        spare.name = fence
        os.write(tell_taken, b"!")
        os.close(tell_taken)
        channel.close()
        return order
    _discard(spare)
    return None


def _receive(channel: socket.socket) -> Order | None:
    """One order. A small one is the message itself, a large one lies in the memory file that comes with it."""
    data, extras, _, _ = channel.recvmsg(records.INLINE_ORDER + 1, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    for _, _, payload in extras:
        fds = array.array("i")
        fds.frombytes(payload)
        with open(fds[0], "rb") as file:
            file.seek(0)
            data = file.read()
    return json.loads(data) if data else None


def _discard(spare: Spare) -> None:
    shutil.rmtree(spare.path, ignore_errors=True)
    if spare.group:
        spare.group.leave()
        spare.group.remove()


def _wake_on_signals() -> int:
    """A descriptor that is readable after SIGCHLD and SIGTERM. Handlers, so that an exec resets them."""
    wake, written = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return wake
