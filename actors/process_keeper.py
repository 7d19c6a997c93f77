"""ProcessKeeper: makes the runs of this host what is wanted, and tells what they are (DESIGN 5).

It holds no decision: a wanted run is started once, whatever is repeated, and ends only when it is asked to stop. The
keepers' files are the truth; nudges and pidfds only say when to look. Everything is keyed by fence.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.inbox import FdReady
from gpuyard.actors.keeper import environment, news, processes
from gpuyard.actors.keeper.folders import Folders
from gpuyard.actors.keeper.keeperless import Keeperless
from gpuyard.actors.keeper.launcher import Launcher
from gpuyard.actors.keeper.ports import Ports
from gpuyard.actors.keeper.program import cgroup
from gpuyard.actors.keeper.run import Run, Stage, told, unheard_end
from gpuyard.actors.keeper.settings import KeeperSettings
from gpuyard.actors.keeper.sockets import NudgeSocket, ask_to_stop
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ForgetRun, PurgeRuns, Ready, RunSpec, WantedComplete, WantRun, WantStop
from gpuyard.actors.model.events import AttemptStarted, OrphanSeen, RunsAdopted
from gpuyard.actors.model.message import Message, Tick
from gpuyard.actors.procfs import boot_id

log = logging.getLogger("gpuyard.keeper")

# Seconds: until a full order socket is tried again; that removing files may take, and between two such times; the
# first and the longest pause before a zygote is started anew that has died at once.
RETRY, TIDY, FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.02, 0.1, 5.0

KEEPER_KILLED = "keeper killed, exit code unknown"


class SendOrders(Message, frozen=True, kw_only=True):
    """Orders that could not be sent wait for another try. From: the actor's own timer. Repeat: harmless."""


class StartZygote(Message, frozen=True, kw_only=True):
    """From: the actor's own timer, after the zygote has died. Repeat: harmless."""


class Look(Message, frozen=True, kw_only=True):
    """Look at a run without a keeper. From: the actor's own timer. Repeat: harmless."""

    fence: int


class Tidy(Message, frozen=True, kw_only=True):
    """Files to remove, off the way of starts. From: the actor's own timer. Repeat: harmless."""


class ProcessKeeper(Actor):
    """Tells the Scheduler RunsAdopted, AttemptStarted, AttemptExited and OrphanSeen."""

    def __init__(self, context: Context, settings: KeeperSettings) -> None:
        super().__init__(context)
        self._settings = settings
        self._scheduler = context.ref(names.SCHEDULER)
        self._folders = Folders(settings)
        self._launcher = Launcher(settings)
        self._ports = Ports(settings.first_port, settings.last_port)
        self._runs: dict[int, Run] = {}
        self._nudges: NudgeSocket | None = None
        self._readable: dict[int, Callable[[], None]] = {}
        self._boot_id = boot_id()
        self._complete = False  # WantedComplete has come: what is not wanted is an orphan
        self._unanswered: set[int] = set()  # orders that some spare may still act upon
        self._acknowledged: list[int] = []
        self._purged: list[int] = []
        self._tidy_due = False
        self._zygote_at = 0.0
        self._pause = 0.0

    def started(self) -> None:
        self._folders.prepare()
        cgroup.remove_empty()
        self._nudges = NudgeSocket(self._settings.sockets)
        self._watch(self._nudges.fileno(), self._accept)
        for fence in self._folders.unacknowledged():
            self._examine(Run(fence=fence, stage=Stage.ORDERED))
        self._start_zygote()
        self._tell_adopted()
        self.inbox.after(self._settings.tick_seconds, Tick())

    def stopped(self) -> None:
        """Runs and their keepers live on."""
        self._launcher.close()
        if self._nudges is not None:
            self._nudges.close()
        for run in self._runs.values():
            self._let_go(run)

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case FdReady(fd=fd):
                self._readable.get(fd, lambda: self._unwatch(fd))()
            case WantRun(run=spec, started=started):
                self._want(spec, started)
            case WantStop(fence=fence, reason=reason):
                self._want_stop(fence, reason)
            case ForgetRun(fence=fence):
                self._forget(fence)
            case PurgeRuns(fences=fences):
                self._purged.extend(fences)
                self._tidy_soon()
            case WantedComplete(fences=fences):
                self._wanted_complete(fences)
            case Tick():
                self._tick()
            case SendOrders():
                self._send_orders()
            case StartZygote():
                self._start_zygote()
            case Look(fence=fence):
                self._look(fence)
            case Tidy():
                self._tidy()
            case Ready():
                return True
            case _:
                return self.unsupported(message)
        return None

    # --- what is wanted ---

    def _want(self, spec: RunSpec, started: bool) -> None:
        run = self._known(spec.fence)
        if run is None and started:
            run = self._never(spec.fence, spec.job_id, "lost", "no trace of the run is left")
        elif run is None:
            run = self._order(spec)
        else:
            self._report(run)
        run.wanted = True

    def _order(self, spec: RunSpec) -> Run:
        try:
            port = self._ports.lease(spec.fence)
        except OSError as error:
            return self._never(spec.fence, spec.job_id, "start_failed", str(error))
        run = Run(fence=spec.fence, stage=Stage.ORDERED, job_id=spec.job_id)
        self._runs[spec.fence] = run
        job_dir = str(self._settings.jobs / spec.job_id)
        run.order = {
            "fence": spec.fence,
            "job_id": spec.job_id,
            "attempt": spec.attempt,
            "argv": spec.argv,
            "cwd": spec.cwd,
            "env": environment.of_run(spec, job_dir, port),
            "files": spec.files,
            "gpus": [gpu.uuid for gpu in spec.gpus],
            "port": port,
            "job_dir": job_dir,
            "time_limit": spec.time_limit,
            "grace": self._settings.stop_grace_seconds,
            "log_cap": self._settings.log_cap_mb << 20,
        }
        self._send(run)
        return run

    def _want_stop(self, fence: int, reason: str) -> None:
        run = self._known(fence)
        if run is None or run.stage is Stage.ORDERED:
            buried = self._never(fence, run.job_id if run else "", "cancelled", reason or "stopped before it started")
            run = buried if buried.stage is Stage.ENDED else self._examine(buried)
        elif run.stage is Stage.ENDED:
            self._report(run)
        run.stop_reason = reason or "stopped"
        self._ask_stop(run)

    def _ask_stop(self, run: Run) -> None:
        """Ask the keeper, or end the processes of one that has none. Repeated at each tick until it has ended."""
        if run.stage is Stage.ENDED or run.stop_reason is None:
            return
        grace = self._settings.stop_grace_seconds
        if run.keeper is not None:
            processes.send(run.keeper, signal.SIGCONT)
        if not ask_to_stop(self._folders.path(run.fence), run.stop_reason, grace) and run.keeperless is not None:
            run.keeperless.stop(grace)
            self._look_in(run, 0.0)

    def _never(self, fence: int, job_id: str, exit_class: str, message: str) -> Run:
        """Make sure that this run never starts. Where a keeper was faster it stays as it is."""
        run = self._runs.setdefault(fence, Run(fence=fence, stage=Stage.ORDERED, job_id=job_id))
        record = unheard_end(fence, job_id, exit_class, message, self.clock.now(), None)
        if self._folders.bury(fence, msgspec.to_builtins(record)):
            self._ended(run, record)
        return run

    def _forget(self, fence: int) -> None:
        run = self._runs.get(fence)
        if run is not None and run.stage is not Stage.ENDED:
            log.warning("run %d is to be forgotten, but it lives: it stays known", fence)
            return
        self._runs.pop(fence, None)
        self._acknowledged.append(fence)
        self._tidy_soon()

    def _wanted_complete(self, fences: tuple[int, ...]) -> None:
        self._complete = True
        for fence in fences:
            if fence in self._runs:
                self._runs[fence].wanted = True
        self._tell_adopted()
        self._tell_orphans()

    # --- orders and the zygote ---

    def _send(self, run: Run) -> None:
        if run.order is not None and self._launcher.send(run.order):
            run.sent_at = time.monotonic()
            self._unanswered.add(run.fence)
        else:
            run.sent_at = None
            self.inbox.after(RETRY, SendOrders())

    def _send_orders(self) -> None:
        for run in self._runs.values():
            if run.stage is Stage.ORDERED and run.order is not None and run.sent_at is None:
                self._send(run)
                if run.sent_at is None:
                    return

    def _start_zygote(self) -> None:
        if self._launcher.pid is not None:
            return
        try:
            self._launcher.start()
        except OSError as error:
            log.error("the keepers' zygote could not be started, it is tried again: %s", error)
            self._zygote_died()
            return
        self._zygote_at = time.monotonic()
        self._watch(self._launcher.pidfd, self._zygote_died)
        self._send_orders()

    def _zygote_died(self) -> None:
        if self._launcher.pidfd >= 0:
            log.warning("the keepers' zygote (pid %s) died: a new one is started", self._launcher.pid)
            self._unwatch(self._launcher.pidfd)
        self._launcher.close()
        # Whatever lay in its socket is gone; an order that was taken nevertheless makes the second one refused.
        self._unanswered.clear()
        for run in self._runs.values():
            run.sent_at = None
        stood = time.monotonic() - self._zygote_at > LONGEST_PAUSE
        self._pause = 0.0 if stood else min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        self.inbox.after(self._pause, StartZygote())

    # --- what keepers say ---

    def _accept(self) -> None:
        assert self._nudges is not None
        while (fd := self._nudges.accept()) is not None:
            self._watch(fd, partial(self._hear, fd))

    def _hear(self, fd: int) -> None:
        assert self._nudges is not None
        data = self._nudges.receive(fd)
        if data is None:
            self._unwatch(fd)
            self._nudges.drop(fd)
            return
        said = news.read(data)
        if said is None:
            return
        run = self._runs.get(said.fence) or Run(fence=said.fence, stage=Stage.ORDERED)
        match said:
            case news.ExitRecord():
                self._ended(run, said)
            case news.RunRecord():
                self._lives(run, said)
            case news.Refused() if run.stage is Stage.ORDERED:
                self._examine(run)
        self._unanswered.discard(said.fence)

    def _lives(self, run: Run, record: news.RunRecord) -> None:
        if run.stage is Stage.ENDED or run.keeper is not None:
            return
        keeper = processes.open_process(record.keeper_pid, record.keeper_start)
        if keeper is None:
            self._examine(run)
            return
        self._let_go(run)
        self._runs[run.fence] = run
        run.stage, run.record, run.job_id, run.order, run.keeper = Stage.LIVE, record, record.job_id, None, keeper
        self._watch(keeper, lambda: self._examine(run))
        if record.port is not None:
            self._ports.keep(run.fence, record.port)
        self._report(run)
        self._ask_stop(run)

    def _ended(self, run: Run, record: news.ExitRecord) -> None:
        if run.stage is Stage.ENDED:
            return
        run.stage, run.end, run.order, run.job_id = Stage.ENDED, told(record), None, record.job_id
        self._runs[run.fence] = run
        self._report(run)
        self._let_go(run)
        self._ports.release(run.fence)

    def _report(self, run: Run) -> None:
        if run.end is not None:
            self._scheduler.tell(run.end)
        elif run.record is not None:
            self._scheduler.tell(AttemptStarted(fence=run.fence, pid=run.record.pid, at=run.record.started_at))

    # --- what the files say ---

    def _known(self, fence: int) -> Run | None:
        """From memory, else from its folder."""
        run = self._runs.get(fence)
        if run is None and self._folders.exists(fence):
            run = self._examine(Run(fence=fence, stage=Stage.ORDERED))
        return run

    def _examine(self, run: Run) -> Run:
        """Learn from the folder and from its processes what has become of a run."""
        self._runs[run.fence] = run
        end, record = self._folders.exit_record(run.fence), self._folders.run_record(run.fence)
        if end is not None:
            self._ended(run, end)
        elif record is not None and record.boot_id != self._boot_id:
            run.record = record
            self._lost(run, "the machine was restarted while the run lived, exit code unknown")
        elif record is not None and (keeper := processes.open_process(record.keeper_pid, record.keeper_start)):
            os.close(keeper)
            self._lives(run, record)
        elif self._folders.exists(run.fence):
            self._without_keeper(run, record)
        return run

    def _without_keeper(self, run: Run, record: news.RunRecord | None) -> None:
        """Its keeper is gone, or has not yet written who it is."""
        if run.keeperless is None or (record is not None and run.record is None):
            self._let_go(run)
            run.stage, run.record = Stage.KEEPERLESS, record
            run.keeperless = Keeperless(self._folders, str(self._settings.jobs), run.fence, record)
            if record is not None:
                run.job_id = record.job_id
                log.warning("run %d has lost its keeper (pid %d)", run.fence, record.keeper_pid)
            if run.keeperless.program is not None:
                self._watch(run.keeperless.program, lambda: self._program_ended(run))
            self._report(run)
            self._ask_stop(run)
        self._look_in(run, 0.0)

    def _program_ended(self, run: Run) -> None:
        if run.keeperless is not None and run.keeperless.program is not None:
            self._unwatch(run.keeperless.program)
        self._look_in(run, 0.0)

    def _look_in(self, run: Run, seconds: float) -> None:
        if not run.look_due:
            run.look_due = True
            self.inbox.after(min(seconds, self._settings.tick_seconds), Look(fence=run.fence))

    def _look(self, fence: int) -> None:
        run = self._runs.get(fence)
        if run is None or run.keeperless is None:
            return
        run.look_due = False
        again = run.keeperless.look()
        if again is not None:
            self._look_in(run, again)
        elif (end := self._folders.exit_record(fence)) is not None:
            self._ended(run, end)
        else:
            self._lost(run, KEEPER_KILLED)

    def _lost(self, run: Run, message: str) -> None:
        record = unheard_end(run.fence, run.job_id, "lost", message, self.clock.now(), run.record)
        try:
            self._folders.write_exit(run.fence, msgspec.to_builtins(record))
        except OSError as error:
            log.warning("the end of run %d could not be written: %s", run.fence, error)
        self._ended(run, record)

    # --- the safety net ---

    def _tick(self) -> None:
        self.inbox.after(self._settings.tick_seconds, Tick())
        if not self._complete:
            self._tell_adopted()
        for run in list(self._runs.values()):
            self._look_after(run)
        self._tell_orphans()
        if self._purged:
            self._tidy_soon()

    def _look_after(self, run: Run) -> None:
        if run.stage is Stage.ENDED:
            self._report(run)
            return
        late = run.sent_at is not None and time.monotonic() - run.sent_at > self._settings.tick_seconds
        if run.stage is Stage.ORDERED and late:
            self._examine(run)
            if run.stage is Stage.ORDERED:
                self._send(run)
        elif run.stage is Stage.KEEPERLESS:
            self._examine(run)
        elif run.stage is Stage.LIVE and (end := self._folders.exit_record(run.fence)) is not None:
            self._ended(run, end)
        self._ask_stop(run)

    def _tell_adopted(self) -> None:
        ended = tuple(fence for fence, run in self._runs.items() if run.stage is Stage.ENDED)
        live = tuple(fence for fence, run in self._runs.items() if run.stage is not Stage.ENDED)
        self._scheduler.tell(RunsAdopted(live=live, ended=ended))

    def _tell_orphans(self) -> None:
        for run in self._runs.values() if self._complete else ():
            if not run.wanted and run.stage is not Stage.ENDED and run.record is not None:
                uuids = tuple(run.record.gpus)
                self._scheduler.tell(
                    OrphanSeen(fence=run.fence, job_id=run.job_id, pid=run.record.pid, uuids=uuids),
                )

    def _tidy_soon(self) -> None:
        if not self._tidy_due:
            self._tidy_due = True
            self.inbox.after(TIDY, Tidy())

    def _tidy(self) -> None:
        """A few at a time, so that starts and ends never wait for it."""
        self._tidy_due = False
        until = time.monotonic() + TIDY
        while self._acknowledged and time.monotonic() < until:
            self._folders.acknowledge(self._acknowledged.pop())
        # The grave of a run must stay while an order for it may be on its way.
        waiting = [fence for fence in self._purged if fence in self._unanswered]
        ready = [fence for fence in self._purged if fence not in self._unanswered]
        while ready and time.monotonic() < until:
            fence = ready.pop()
            if fence not in self._runs:
                self._folders.remove(fence)
        self._purged = waiting + ready
        if self._acknowledged or ready:
            self._tidy_soon()

    # --- descriptors ---

    def _watch(self, fd: int, then: Callable[[], Any]) -> None:
        self._readable[fd] = then
        self.inbox.watch(fd)

    def _unwatch(self, fd: int) -> None:
        if self._readable.pop(fd, None) is not None:
            with suppress(KeyError):
                self.inbox.unwatch(fd)

    def _let_go(self, run: Run) -> None:
        """Stop watching its processes."""
        if run.keeper is not None:
            self._unwatch(run.keeper)
            os.close(run.keeper)
            run.keeper = None
        if run.keeperless is not None:
            if run.keeperless.program is not None:
                self._unwatch(run.keeperless.program)
            run.keeperless.close()
            run.keeperless = None
