"""The keeper of one run: starts the program, waits for its end, ends what it leaves behind, writes it down.

It outlives the supervisor. All it is told comes through its own socket (`control`, a JSON object a message:
`{"op": "stop", "reason": "…", "grace": seconds}`); an unknown `op` is ignored, so that a newer supervisor may speak
to an older keeper. SIGTERM to the keeper itself means that the machine or an administrator ends it: the run is
stopped, and as nobody asked for that through us it ends as `lost`, which is tried again.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from typing import Any

from gpuyard.actors.keeper.program import loglimit, memory, records, spare, tree
from gpuyard.actors.keeper.program.launch import StartFailed, launch
from gpuyard.actors.keeper.program.lease import Lease, boottime, no_word
from gpuyard.actors.keeper.program.why import TAIL_BYTES, Why, why
from gpuyard.actors.procfs import start_time

OUTSIDE = "stopped from outside: its keeper got SIGTERM, as when a machine shuts down"
TOO_LATE = "no word from the server: the lease had ended before the program could be started"

# What a program leaves behind gets at most this many seconds between TERM and KILL.
LEFTOVER_GRACE = 5.0
# Seconds for which a keeper leaves the processor to the next start, before it writes and tidies.
REST = 0.005
# A day: what poll() can wait for has an end.
LONGEST_GRACE = 86_400.0
# Seconds between two sweeps while something does not die (it hangs in the kernel); doubled each time.
FIRST_SWEEP, LONGEST_SWEEP = 0.02, 1.0


def keep(keeper: spare.Keeper, work: spare.Work) -> None:
    """One run, from its order to its last record."""
    desk, order = work
    lease = Lease(desk.dir_fd, order["lease"]) if order["lease"] else None
    try:
        if lease and lease.look() == "lapsed":
            _never(keeper, work, Why("lost", TOO_LATE))
        else:
            _live(keeper, work, launch(order, keeper, desk), lease)
    except StartFailed as failure:
        _never(keeper, work, Why("start_failed", str(failure)))
    if lease:
        lease.close()
    desk.close()


def _live(keeper: spare.Keeper, work: spare.Work, pid: int, lease: Lease | None) -> None:
    started_at = time.time()
    spare.name_process("gpuyard-keeper")
    _started(keeper, work, pid, started_at)
    run = Life(keeper, work, pid, lease)
    run.watch()
    code = 128 + run.number if run.number else run.code
    _ended(keeper, work, started_at, run.ended_at, code, run.number, run.why())


def _never(keeper: spare.Keeper, work: spare.Work, why: Why) -> None:
    loglimit.say(work.desk.log_fd, why.message)
    _ended(keeper, work, None, time.time(), None, 0, why)


class Life:
    """A live run. Waits on its children, its socket and its deadlines; never polls for the end."""

    def __init__(self, keeper: spare.Keeper, work: spare.Work, pid: int, lease: Lease | None = None) -> None:
        desk, order = work
        self.code = 0
        self.number = 0
        self.ended_at = 0.0
        self._keeper = keeper
        self._desk = desk
        self._pid = pid
        self._alive = True
        self._grace = float(order["grace"])
        self._asked = ""
        self._reason = ""
        self._told: set[int] = set()  # who got TERM
        self._leftovers = False  # the program has ended before its descendants
        self._kill_at: float | None = None
        self._sweep = FIRST_SWEEP
        self._limit = order["time_limit"]
        self._limit_at = time.monotonic() + self._limit if self._limit is not None else None
        self._log = loglimit.LogLimit(desk.dir_fd, desk.log_fd, int(order["log_cap"]))
        self._oom_kills = memory.oom_kills()
        self._links: dict[int, socket.socket] = {}
        self._poll = select.poll()
        self._poll.register(keeper.wake, select.POLLIN)
        self._poll.register(desk.control, select.POLLIN)
        self._lease = lease
        if lease:
            self._poll.register(lease.fd, select.POLLIN)

    def watch(self) -> None:
        """Until no process of the run is left."""
        while self._reap():
            self._act(time.monotonic())
            for fd, _ in self._poll.poll(self._timeout()):
                self._hear(fd)
        for link in self._links.values():
            link.close()

    def why(self) -> Why:
        self._log.look()  # once the end is told, the log is as it stays
        tail = loglimit.read_tail(self._desk.dir_fd, TAIL_BYTES) if self.code or self.number else b""
        kernel_oom = bool(self.number or self.code) and memory.oom_kills() > self._oom_kills
        return why(self.code, self.number, tail, self._asked, self._reason, kernel_oom)

    def _reap(self) -> bool:
        """Take the ends of all children that have ended; False when there is no child left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._pid:
                self.ended_at = time.time()
                self._alive = False
                result = os.waitstatus_to_exitcode(status)
                self.code, self.number = (result, 0) if result >= 0 else (0, -result)

    def _act(self, now: float) -> None:
        if self._alive and self._limit_at is not None and now >= self._limit_at:
            self._limit_at = None
            self._stop("timeout", f"time limit of {self._limit:.12g} s reached", self._grace)
        if not self._alive and not self._leftovers:
            self._leftovers = True
            self._terminate(min(self._grace, LEFTOVER_GRACE))
        if self._kill_at is not None and now >= self._kill_at:
            tree.kill(self._keeper.group)
            self._kill_at = now + self._sweep
            self._sweep = min(self._sweep * 2, LONGEST_SWEEP)
        if now >= self._log.next_look:
            self._log.look()

    def _timeout(self) -> float:
        """Milliseconds to the next deadline."""
        deadlines = (self._log.next_look, self._kill_at, self._limit_at if self._alive else None)
        return max(0.0, min(at for at in deadlines if at is not None) - time.monotonic()) * 1000 + 1

    def _hear(self, fd: int) -> None:
        if fd == self._keeper.wake:
            if signal.SIGTERM in os.read(fd, 4096):
                self._stop("lost", OUTSIDE, self._grace)
        elif self._lease and fd == self._lease.fd:
            self._look_at(self._lease)
        elif fd == self._desk.control.fileno():
            link, _ = self._desk.control.accept()
            link.setblocking(False)
            self._links[link.fileno()] = link
            self._poll.register(link, select.POLLIN)
        else:
            self._obey(fd)

    def _look_at(self, lease: Lease) -> None:
        """Its end has come, or the moment to save a checkpoint, if nothing was heard since."""
        found = lease.look()
        silence = lease.seconds - (lease.until - boottime())
        if found == "lapsed":
            self._poll.unregister(lease.fd)
            reason = no_word(silence)
            loglimit.say(self._desk.log_fd, f"{reason}: the run is stopped")
            self._lapse(reason, lease.until + lease.grace - boottime())
        elif found == "checkpoint" and lease.signal and self._alive:
            count = tree.signal_catchers(signal.Signals[lease.signal])
            who = "no process of the run handles it" if not count else f"sent to {count} of its processes"
            loglimit.say(self._desk.log_fd, f"{no_word(silence)}, time for a checkpoint: {lease.signal} {who}")

    def _obey(self, fd: int) -> None:
        """What nobody understands is dropped, with the connection it came over."""
        try:
            message = json.loads(self._links[fd].recv(65_536))
            if message["op"] == "stop":
                grace = min(max(float(message["grace"]), 0.0), LONGEST_GRACE)
                self._stop("cancelled", str(message["reason"]), grace)
        except (OSError, ValueError, TypeError, KeyError):
            self._poll.unregister(fd)
            self._links.pop(fd).close()

    def _stop(self, asked: str, reason: str, grace: float) -> None:
        """CONT and TERM now, KILL after `grace` seconds. A repeat may only shorten the grace."""
        if self._alive and not self._asked:
            self._asked, self._reason = asked, reason
        self._terminate(grace)

    def _lapse(self, reason: str, grace: float) -> None:
        """A keeper that was frozen comes late: then another host may be about to start this job, or has done so, and
        what was frozen with it must not even wake to be told."""
        if grace > 0:
            self._stop("lost", reason, grace)
            return
        if self._alive and not self._asked:
            self._asked, self._reason = "lost", reason
        self._kill_at = time.monotonic()

    def _terminate(self, grace: float) -> None:
        tree.terminate(self._told)
        at = time.monotonic() + grace
        self._kill_at = at if self._kill_at is None else min(self._kill_at, at)


def _started(keeper: spare.Keeper, work: spare.Work, pid: int, started_at: float) -> None:
    order = work.order
    record: dict[str, Any] = {
        "fence": order["fence"],
        "job_id": order["job_id"],
        "attempt": order["attempt"],
        "boot_id": keeper.boot_id,
        "keeper_pid": keeper.pid,
        "keeper_start": keeper.start,
        "pid": pid,
        "start": start_time(pid) or 0,
        "started_at": started_at,
        "gpus": order["gpus"],
        "port": order["port"],
        "cgroup": keeper.group.path if keeper.group else None,
        "lease": order["lease"],
    }
    what = {"argv": order["argv"], "cwd": order["cwd"] or order["job_dir"], "time_limit": order["time_limit"]}
    try:
        records.write(work.desk.dir_fd, records.RUN, records.encode("run", {**record, **what}))
    except OSError:
        pass  # a full disk: the run goes on, and is found by its fence
    keeper.link.send(records.encode("run", record))


def _ended(
    keeper: spare.Keeper,
    work: spare.Work,
    started_at: float | None,
    ended_at: float,
    code: int | None,
    number: int,
    reason: Why,
) -> None:
    record = {
        "fence": work.order["fence"],
        "job_id": work.order["job_id"],
        "attempt": work.order["attempt"],
        "code": code,
        "signal": number or None,
        "started_at": started_at,
        "ended_at": ended_at,
        "exit_class": reason.exit_class,
        "message": reason.message,
    }
    data = records.encode("exit", record)
    # Said first and written then: the next run may start 0.2 ms sooner. What nobody heard must survive a power loss.
    heard = keeper.link.send(data)
    if heard:
        time.sleep(REST)
    while not _try_write(work.desk.dir_fd, data, sync=not heard):
        time.sleep(1)  # a full disk: the end is not forgotten for that


def _try_write(dir_fd: int, data: bytes, sync: bool) -> bool:
    try:
        records.write(dir_fd, records.EXIT, data, sync)
    except FileNotFoundError:
        return True  # the folder was deleted: nobody wants to know any more
    except OSError:
        return False
    return True
