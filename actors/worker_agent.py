"""WorkerAgent: makes this host run what the server wants (DESIGN 8). A thin shell round `model/agent`.

It stands where the Scheduler stands on the server: ProcessKeeper and LocalGPUAllocator tell it the same. What the
journal must know is on the disk before anything that follows from it leaves. Only heartbeats and renewals of leases
wait for no disk, unless they may tell of an end that is not yet there: a slow disk must not cost a lease.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.model import commands as c, events as e, names
from gpuyard.actors.model.agent import Agent, AgentOutbox, AgentSettings
from gpuyard.actors.model.agent.journal import Ended, Entry, Forgotten, Ordered, StopAsked
from gpuyard.actors.model.message import Message, Tick
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import Sync

log = logging.getLogger("gpuyard.worker")

# The journal is shortened when it has this many lines, and then again when it has so many times more than it needs.
LINES, TIMES = 1_000, 4
# The longest pause between two looks at what is due: timers do not count the time that a host sleeps.
LONGEST_PAUSE = 5.0
# Files that were brought along are looked through so often, in seconds.
TIDY_SECONDS = 3600.0

HASTY = (c.SendHeartbeat, c.RenewLeases)


class Waiting(NamedTuple):
    """Messages that may leave once entry group `number` is on the disk. `grave`: it tells of an end or a stop."""

    number: int
    tells: list[tuple[str, Message]]
    grave: bool


class WorkerAgent(Actor):
    """`incarnation` is this life of the host, `server` the address that people know it by; `done` is called when the
    server has sent an ephemeral worker home."""

    def __init__(
        self,
        context: Context,
        settings: AgentSettings,
        incarnation: str,
        server: str = "the server",
        done: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(context)
        self._settings = settings
        self._incarnation = incarnation
        self._server = server
        self._done = done
        self._agent: Agent | None = None
        self._early: list[Message] = []
        self._adopted: e.RunsAdopted | None = None
        self._number = 0
        self._waiting: deque[Waiting] = deque()
        self._lines = 0
        self._due = float("inf")  # of the next Tick, monotonic
        self._tidied_at = self.clock.monotonic()
        self._up = False
        self._gpus: int | None = None
        self._refused = ""
        self._ended: set[int] = set()  # runs whose end was said

    def started(self) -> None:
        self.context.directory.put(names.SCHEDULER, self.actor_ref)
        self.context.ref(names.JOURNAL).tell(c.LoadJournal())

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case c.Ready():
                return self._agent is not None and self._adopted is not None and self._gpus is not None
            case e.JournalLoaded():
                return self._begin(message)
            case e.JournalKept():
                return self._kept(message)
            case _ if self._agent is None:
                self._early.append(message)
                return None
            case _:
                return self._on(self._agent, message)

    # --- what comes in -----------------------------------------------------------------------------------------

    def _begin(self, loaded: e.JournalLoaded) -> None:
        if self._agent is not None:
            return
        out, now = AgentOutbox(), self._now()
        session, journal_id = secrets.token_hex(8), secrets.token_hex(8)
        self._agent = Agent(self._settings, session, self._incarnation, loaded.entries, journal_id, now, out)
        if self._adopted is None:
            self.context.ref(names.KEEPER).tell(c.WatchRuns())
        self._perform(out)
        early, self._early = self._early, []
        for message in early:
            self._on(self._agent, message)
        self._set_timer(self._agent)

    def _on(self, agent: Agent, message: Message) -> Any:
        out, now = AgentOutbox(message.cause), self._now()
        match message:
            case Tick():
                self._due = float("inf")
                agent.tick(now, out)
                self._tidy(agent, now)
            case Sync():
                agent.synced(message, now, out)
                self._say_refused(agent)
            case e.LinkChanged():
                agent.link_changed(message, now, out)
                self._say_link(message)
            case e.GpuFacts():
                self._gpus = len(message.gpus)
                agent.gpu_facts(message, now, out)
                self._speak(agent, now, out)
            case e.RunsAdopted():
                self._adopted = message
                self._speak(agent, now, out)
            case e.AttemptStarted():
                agent.started(message, now, out)
            case e.AttemptExited():
                agent.exited(message, now, out)
                self._say_ended(message)
            case e.GpuEmptied():
                agent.emptied(message, now, out)
            case e.OrphanSeen():
                agent.orphan_seen(message, now, out)
            case e.ForeignSeen():
                log.warning("run %d shares GPU %s with processes from outside", message.fence, message.uuid)
            case c.LeaveServer():
                agent.leave(now, out)
            case _:
                return self.unsupported(message)
        self._perform(out)
        self._set_timer(agent)
        if agent.may_end:
            self._done()
        return True

    def _speak(self, agent: Agent, now: Now, out: AgentOutbox) -> None:
        """The first heartbeat tells of runs and of GPUs: without either the server would take them for gone."""
        if self._adopted is not None and self._gpus is not None:
            agent.adopted(self._adopted, now, out)

    # --- what goes out -----------------------------------------------------------------------------------------

    def _perform(self, out: AgentOutbox) -> None:
        if out.journal:
            self._say_journal(out.journal)
            self._number += 1
            self.context.ref(names.JOURNAL).tell(c.AppendJournal(number=self._number, entries=tuple(out.journal)))
            grave = any(isinstance(entry, Ended | StopAsked) for entry in out.journal)
            self._waiting.append(Waiting(self._number, out.tells, grave))
        elif not self._waiting:
            self._send(out.tells)
        else:
            last = self._waiting[-1]
            hasty = [tell for tell in out.tells if isinstance(tell[1], HASTY)]
            if not any(waiting.grave for waiting in self._waiting):
                self._send(hasty)
                last.tells.extend(tell for tell in out.tells if not isinstance(tell[1], HASTY))
            else:
                last.tells.extend(out.tells)

    def _kept(self, kept: e.JournalKept) -> None:
        while self._waiting and self._waiting[0].number <= kept.number:
            self._send(self._waiting.popleft().tells)
        if kept.lines >= LINES and self._agent is not None and not self._waiting:
            short = self._agent.shortened()
            if kept.lines >= TIMES * len(short):
                self.context.ref(names.JOURNAL).tell(c.ShortenJournal(entries=tuple(short)))

    def _tidy(self, agent: Agent, now: Now) -> None:
        if now.monotonic - self._tidied_at >= TIDY_SECONDS:
            self._tidied_at = now.monotonic
            self.context.ref(names.BLOBS).tell(c.KeepBlobs(blobs=agent.blobs()))

    def _send(self, tells: list[tuple[str, Message]]) -> None:
        for to, message in tells:
            self.context.ref(to).tell(message)

    def _set_timer(self, agent: Agent) -> None:
        now = self.clock.monotonic()
        at = now + min(LONGEST_PAUSE, max(0.0, agent.next_tick(self._now())))
        if at < self._due:
            self._due = at
            self.inbox.after(at - now, Tick())

    def _now(self) -> Now:
        return Now(self.clock.now(), self.clock.monotonic())

    # --- what people read --------------------------------------------------------------------------------------

    def _say_link(self, link: e.LinkChanged) -> None:
        if link.up:
            gpus = "its GPUs are being read" if self._gpus is None else f"{self._gpus} GPUs"
            name = self._settings.name or link.user_id
            log.info("connected to %s as %s, %s; waiting for work", self._server, name, gpus)
        elif link.refused:
            log.error("%s refuses us: %s; trying again and again", self._server, link.reason)
        elif self._up:
            log.warning("%s is not heard any more (%s): runs go on", self._server, link.reason)
        else:
            log.info("not connected to %s: %s; trying again", self._server, link.reason)
        self._up = link.up

    def _say_refused(self, agent: Agent) -> None:
        if agent.refused and agent.refused != self._refused:
            log.error("the server gives us no work: %s", agent.refused)
        elif self._refused and not agent.refused:
            log.info("the server gives us work again")
        self._refused = agent.refused

    def _say_journal(self, entries: list[Entry]) -> None:
        for entry in entries:
            match entry:
                case Ordered(want=want):
                    gpus = ",".join(str(gpu.index) for gpu in want.run.gpus)
                    where = f"on GPU {gpus}" if gpus else "without a GPU"
                    log.info("job %s, attempt %d: starting %s", want.run.job_id, want.run.attempt, where)
                case StopAsked(fence=fence, reason=reason):
                    log.info("run %d: the server says stop: %s", fence, reason or "no reason given")
                case Ended(fence=fence, message=message):
                    log.info("run %d: ended: %s", fence, message)
                case Forgotten(fence=fence):
                    self._ended.discard(fence)
                case _:
                    pass

    def _say_ended(self, end: e.AttemptExited) -> None:
        if end.fence not in self._ended:
            self._ended.add(end.fence)
            log.info("run %d: %s%s", end.fence, end.exit_class, f": {end.message}" if end.message else "")
