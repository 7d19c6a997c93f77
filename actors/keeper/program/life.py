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
import sys
import time
from typing import Any

from gpuyard.actors.keeper.program import loglimit, memory, records, spare, tree
from gpuyard.actors.keeper.program.launch import StartFailed, launch
from gpuyard.actors.keeper.program.why import TAIL_BYTES, Why, why
from gpuyard.actors.procfs import start_time

OUTSIDE = "stopped from outside: its keeper got SIGTERM, as when a machine shuts down"

# What a program leaves behind gets at most this many seconds between TERM and KILL.
LEFTOVER_GRACE = 5.0
# Seconds between two sweeps while something does not die (it hangs in the kernel); doubled each time.
FIRST_SWEEP, LONGEST_SWEEP = 0.02, 1.0


def keep(ready: spare.Spare, order: spare.Order) -> None:
    """The whole run, from the order to the last record."""
    spare.name_process("gpuyard-keeper")
    # TERM asks us to stop; a handler and not "ignore", which the program would inherit.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        pid = launch(order, ready.log_fd, ready.lock_fd)
    except StartFailed as failure:
        loglimit.say(ready.log_fd, str(failure))
        _ended(ready, order, None, time.time(), None, 0, Why("start_failed", str(failure)))
        return
    started_at = time.time()
    _started(ready, order, pid, started_at)
    run = Keeper(ready, order, pid)
    run.watch()
    code = 128 + run.number if run.number else run.code
    _ended(ready, order, started_at, run.ended_at, code, run.number, run.why())


class Keeper:
    """A live run. Waits on its children, its socket and its deadlines; never polls for the end."""

    def __init__(self, ready: spare.Spare, order: spare.Order, pid: int) -> None:
        self.code = 0
        self.number = 0
        self.ended_at = 0.0
        self._ready = ready
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
        self._log = loglimit.LogLimit(ready.dir_fd, ready.log_fd, int(order["log_cap"]))
        self._oom_kills = memory.oom_kills()
        self._links: dict[int, socket.socket] = {}
        self._poll = select.poll()
        self._poll.register(ready.wake, select.POLLIN)
        self._poll.register(ready.control, select.POLLIN)

    def watch(self) -> None:
        """Until no process of the run is left."""
        while self._reap():
            self._act(time.monotonic())
            for fd, _ in self._poll.poll(self._timeout()):
                self._hear(fd)

    def why(self) -> Why:
        self._log.look()
        tail = loglimit.read_tail(self._ready.dir_fd, TAIL_BYTES) if self.code or self.number else b""
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
            self._stop("timeout", f"time limit of {self._limit:g} s reached", self._grace)
        if not self._alive and not self._leftovers:
            self._leftovers = True
            self._terminate(min(self._grace, LEFTOVER_GRACE))
        if self._kill_at is not None and now >= self._kill_at:
            tree.kill(self._ready.group)
            self._kill_at = now + self._sweep
            self._sweep = min(self._sweep * 2, LONGEST_SWEEP)
        if now >= self._log.next_look:
            self._log.look()

    def _timeout(self) -> float:
        """Milliseconds to the next deadline."""
        deadlines = (self._log.next_look, self._kill_at, self._limit_at if self._alive else None)
        return max(0.0, min(at for at in deadlines if at is not None) - time.monotonic()) * 1000 + 1

    def _hear(self, fd: int) -> None:
        if fd == self._ready.wake:
            if signal.SIGTERM in os.read(fd, 4096):
                self._stop("lost", OUTSIDE, self._grace)
        elif fd == self._ready.control.fileno():
            link, _ = self._ready.control.accept()
            link.setblocking(False)
            self._links[link.fileno()] = link
            self._poll.register(link, select.POLLIN)
        else:
            self._obey(fd)

    def _obey(self, fd: int) -> None:
        try:
            data = self._links[fd].recv(65_536)
            message = json.loads(data) if data else None
        except (OSError, ValueError):
            message = None
        if message is None:
            self._poll.unregister(fd)
            self._links.pop(fd).close()
        elif isinstance(message, dict) and message.get("op") == "stop":
            self._stop("cancelled", str(message.get("reason") or "stopped"), float(message.get("grace", self._grace)))

    def _stop(self, asked: str, reason: str, grace: float) -> None:
        """CONT and TERM now, KILL after `grace` seconds. A repeat may only shorten the grace."""
        if self._alive and not self._asked:
            self._asked, self._reason = asked, reason
        self._terminate(grace)

    def _terminate(self, grace: float) -> None:
        tree.terminate(self._told)
        at = time.monotonic() + grace
        self._kill_at = at if self._kill_at is None else min(self._kill_at, at)


def _started(ready: spare.Spare, order: spare.Order, pid: int, started_at: float) -> None:
    record: dict[str, Any] = {
        "fence": order["fence"],
        "job_id": order["job_id"],
        "attempt": order["attempt"],
        "boot_id": ready.boot_id,
        "keeper_pid": ready.pid,
        "keeper_start": ready.start,
        "pid": pid,
        "start": start_time(pid) or 0,
        "started_at": started_at,
        "gpus": order["gpus"],
        "port": order["port"],
        "cgroup": ready.group.path if ready.group else None,
    }
    what = {"argv": order["argv"], "cwd": order["cwd"] or order["job_dir"], "time_limit": order["time_limit"]}
    try:
        records.write(ready.dir_fd, records.RUN, records.encode("run", {**record, **what}))
    except OSError as error:  # a full disk: the run goes on, and is found by its fence
        print(f"run {order['fence']}: its record could not be written: {error}", file=sys.stderr, flush=True)
    ready.nudge.send(records.encode("run", record))


def _ended(
    ready: spare.Spare,
    order: spare.Order,
    started_at: float | None,
    ended_at: float,
    code: int | None,
    number: int,
    reason: Why,
) -> None:
    record = {
        "fence": order["fence"],
        "job_id": order["job_id"],
        "attempt": order["attempt"],
        "code": code,
        "signal": number or None,
        "started_at": started_at,
        "ended_at": ended_at,
        "exit_class": reason.exit_class,
        "message": reason.message,
    }
    data = records.encode("exit", record)
    written = _try_write(ready.dir_fd, data)
    heard = ready.nudge.send(data)
    while not written:  # a full disk: the end is not forgotten for that
        time.sleep(1)
        written = _try_write(ready.dir_fd, data)
    if not heard:
        # Nobody has listened: then the file alone must carry it, over a power loss too.
        _try_write(ready.dir_fd, data, sync=True)
    if ready.group:
        ready.group.leave()
        ready.group.remove()


def _try_write(dir_fd: int, data: bytes, sync: bool = False) -> bool:
    try:
        records.write(dir_fd, records.EXIT, data, sync)
    except FileNotFoundError:
        return True  # the folder was deleted: nobody wants to know any more
    except OSError:
        return False
    return True
