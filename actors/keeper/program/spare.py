"""A spare keeper: everything a run needs, made in advance; then it waits for an order.

The order claims the run by renaming the spare's folder to `runs/<fence>`. A folder of that name that exists already
(another keeper's, or the grave of a run that was stopped before it started) makes the rename fail, so no run can be
started twice, however often its order is repeated. When the run has ended the keeper is a spare again: what it
touched is already its own, so a second run starts quicker than a fork of the zygote would.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from gpuyard.actors.keeper.program import cgroup, records
from gpuyard.actors.keeper.program.link import Link
from gpuyard.actors.procfs import boot_id, start_time

PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36

_libc = ctypes.CDLL(None, use_errno=True)

# Of a training, so that the kernel ends it before it ends the supervisor.
OOM_SCORE_ADJ = 500

Order = dict[str, Any]


class Keeper:
    """The process, with what it keeps from run to run. `wake` is readable after each signal."""

    def __init__(self, data_dir: str, group_base: str | None) -> None:
        os.setsid()
        if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "this system has no child subreaper")
        self.pid = os.getpid()
        self.start = start_time(self.pid) or 0
        self.boot_id = boot_id()
        self.environment = dict(os.environ)
        self.busy = False
        self.wake = self._wake_on_signals()
        self._oom_fd, self._oom_score = _open_oom_score()
        self.runs_fd = os.open(f"{data_dir}/runs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.spares_fd = os.open(f"{data_dir}/runs/{records.SPARES}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._jobs_fd = os.open(f"{data_dir}/jobs", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._job_folder: str | None = None
        self.link = Link(f"{data_dir}/sockets")
        self.group = cgroup.enter_new(group_base)

    def prepare_job_folder(self) -> None:
        """Making one takes longer than all else at a start: have one ready."""
        if self._job_folder is None:
            name = f"{records.SPARES}/{self.pid}-{time.time_ns()}"
            os.mkdir(name, 0o700, dir_fd=self._jobs_fd)
            self._job_folder = name

    def give_job_folder(self, job_id: str) -> None:
        """Make sure that the job has its folder, an earlier attempt's or the one that is ready. Raises OSError."""
        try:
            if self._job_folder is not None:
                os.rename(self._job_folder, job_id, src_dir_fd=self._jobs_fd, dst_dir_fd=self._jobs_fd)
                self._job_folder = None
                return
        except OSError:
            pass  # there is one with files in it, or somebody tidied ours away
        with contextlib.suppress(FileExistsError):
            os.mkdir(job_id, 0o700, dir_fd=self._jobs_fd)

    def raise_oom_score(self) -> None:
        """What is spawned now inherits it."""
        if self._oom_fd is not None and self._oom_score < OOM_SCORE_ADJ:
            os.pwrite(self._oom_fd, b"%d" % OOM_SCORE_ADJ, 0)

    def restore_oom_score(self) -> None:
        if self._oom_fd is not None and self._oom_score < OOM_SCORE_ADJ:
            os.pwrite(self._oom_fd, b"%d" % self._oom_score, 0)

    def _wake_on_signals(self) -> int:
        """A descriptor that is readable after a signal. Handlers, so that an exec resets them."""
        wake, written = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_term)
        return wake

    def _on_term(self, *_: object) -> None:
        """A run is stopped in good order (see `life.py`); a spare just ends."""
        if not self.busy:
            raise SystemExit

    def leave(self) -> None:
        """Clean up before the end of the process."""
        if self._job_folder is not None:
            with contextlib.suppress(OSError):
                os.rmdir(self._job_folder, dir_fd=self._jobs_fd)
        if self.group:
            self.group.leave()
            self.group.remove()


@dataclass
class Desk:
    """The folder of one run, opened before there is a run. `dir_fd` stays valid when the folder is renamed."""

    name: str
    dir_fd: int
    lock_fd: int
    log_fd: int
    control: socket.socket

    def close(self) -> None:
        self.control.close()
        for fd in (self.log_fd, self.lock_fd, self.dir_fd):
            os.close(fd)


class Work(NamedTuple):
    desk: Desk
    order: Order


def next_run(keeper: Keeper) -> Work | None:
    """A run that this process has claimed; None when there is nothing more to do for it."""
    if not keeper.link.first:
        keeper.leave()  # our supervisor is gone: its successor may be a newer program, with spares of its own
        return None
    if keeper.group:
        keeper.group.enter()
    name_process("gpuyard-spare")
    desk = _prepare(keeper.spares_fd)
    keeper.prepare_job_folder()
    with contextlib.suppress(BlockingIOError):
        os.read(keeper.wake, 65_536)  # what woke it in an earlier run means nothing in the next
    keeper.busy = False
    keeper.link.send(records.encode("ready", {}))
    while (order := keeper.link.order()) is not None:
        try:
            os.rename(desk.name, str(order["fence"]), src_dir_fd=keeper.spares_fd, dst_dir_fd=keeper.runs_fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            keeper.link.send(records.encode("refused", {"fence": order["fence"]}))
            continue
        keeper.busy = True
        return Work(desk, order)
    with contextlib.suppress(OSError):
        for file in (records.LOCK, records.LOG, records.CONTROL):
            os.unlink(file, dir_fd=desk.dir_fd)
        os.rmdir(desk.name, dir_fd=keeper.spares_fd)
    keeper.leave()
    return None


def name_process(name: str) -> None:
    """What `ps` and `top` show (15 bytes)."""
    _libc.prctl(PR_SET_NAME, name.encode("ascii"), 0, 0, 0)


def _prepare(spares_fd: int) -> Desk:
    name = f"{os.getpid()}-{time.time_ns()}"
    os.mkdir(name, 0o700, dir_fd=spares_fd)
    dir_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=spares_fd)
    lock_fd = os.open(records.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    log_fd = os.open(records.LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    # Through the folder's descriptor: an address may have 107 bytes, a path more.
    control.bind(f"/proc/self/fd/{dir_fd}/{records.CONTROL}")
    control.listen(16)
    return Desk(name, dir_fd, lock_fd, log_fd, control)


def _open_oom_score() -> tuple[int | None, int]:
    """A descriptor of our score and its usual value; no descriptor in a sandbox that refuses it."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None, 0
    return fd, int(os.read(fd, 16))
