"""The worker process on a host: the real Agent, and models of the actors round it.

What stands for `actors/worker_agent.py` (journal first, then what follows from it; heartbeats and renewals wait for no
disk unless they may tell of an end), for ProcessKeeper (folders in, events out) and for LocalGPUAllocator.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gpuyard.actors.model import commands as c, events as e, names
from gpuyard.actors.model.agent import Agent, AgentOutbox, AgentSettings
from gpuyard.actors.model.agent.journal import Ended, Entry, Forgotten, StopAsked
from gpuyard.actors.model.attempt import Phase
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import Heartbeat, Report, Sync
from tests.sim.network import UP
from tests.sim.runs import Folder, Run

if TYPE_CHECKING:
    from tests.sim.host import Host

TICK = 5.0
STOP_GRACE = 6.0
HASTY = (c.SendHeartbeat, c.RenewLeases)


class Waiting:
    """Entries on their way to the disk, and what may leave once they are there."""

    def __init__(self, entries: list[Entry], tells: list[tuple[str, Message]]) -> None:
        self.entries, self.tells = entries, tells
        self.grave = any(isinstance(entry, Ended | StopAsked) for entry in entries)


class WorkerProcess:
    """One life of it. `frozen` (SIGSTOP): it does nothing, and what is sent to it waits."""

    def __init__(self, host: Host, session: str) -> None:
        self.host, self.session = host, session
        self.engine = host.engine
        self.alive, self.frozen = True, False
        self._inbox: list[tuple[str, Message]] = []
        self._waiting: deque[Waiting] = deque()
        self._stops: dict[int, str] = {}
        self._revision = 0
        self._tick_at = 0.0
        out = AgentOutbox()
        self.agent: Agent = host.world.agent_class(
            AgentSettings(version="1", heartbeat=host.world.settings.heartbeat, cpu_count=4, start_within=60.0),
            session,
            host.incarnation,
            list(host.disk.journal),
            f"journal-{host.name}-{host.lives}",
            self._now(),
            out,
        )
        self._perform(out)

    def begin(self) -> None:
        """The ProcessKeeper looks through its folders, the allocator reads the GPUs, the link comes up."""
        host = self.host
        live, ended = [], []
        for folder in list(host.disk.folders.values()):
            if folder.forgotten:
                continue
            run = host.runs.get(folder.fence)
            if run is None and folder.exit is None:
                host.write_exit(folder, "lost", None, "the machine was restarted while the run lived")
            elif run is not None:
                host.settle(run)
            if folder.exit is not None:
                ended.append(folder.fence)
                self._tell(folder.exit)
            else:
                live.append(folder.fence)
                self._tell_started(folder)
        self._gpu_facts()
        self._tell(e.RunsAdopted(live=tuple(live), ended=tuple(ended)))
        self._tell(e.LinkChanged(up=True))
        self._tick()

    def die(self) -> None:
        """kill -9: of the entries under way some have reached the disk, in order."""
        self.engine.say(self.host.name, "worker process {} is killed", self.session)
        self.alive = False
        while self._waiting and self.engine.chance(0.5):
            self.host.disk.journal += self._waiting.popleft().entries
        self._waiting.clear()

    def thaw(self) -> None:
        """SIGCONT."""
        if self.alive and self.frozen:
            self.frozen = False
            self.engine.say(self.host.name, "worker process thaws with {} messages", len(self._inbox))
            self.wake()

    def wake(self) -> None:
        """Overdue timers, then all that was sent meanwhile."""
        if self.asleep:
            return
        for run in list(self.host.runs.values()):
            self.host.enforce_lease(run)
            self.host.settle(run)
        inbox, self._inbox = self._inbox, []
        for to, message in inbox:
            self.receive(to, message)
        self._tick()

    @property
    def asleep(self) -> bool:
        return self.frozen or self.host.frozen

    # --- what comes in -----------------------------------------------------------------------------------------

    def receive(self, to: str, message: Message) -> None:
        """From the network or from this host, for the agent or for the models beside it."""
        if not self.alive:
            return
        if self.asleep:
            self._inbox.append((to, message))
            return
        if to != names.AGENT:
            self._for_the_host(to, message)
            return
        out, now, agent = AgentOutbox(), self._now(), self.agent
        match message:
            case Sync():
                agent.synced(message, now, out)
            case e.LinkChanged():
                agent.link_changed(message, now, out)
            case e.RunsAdopted():
                agent.adopted(message, now, out)
            case e.AttemptStarted():
                agent.started(message, now, out)
            case e.AttemptExited():
                agent.exited(message, now, out)
            case e.GpuEmptied():
                agent.emptied(message, now, out)
            case e.OrphanSeen():
                agent.orphan_seen(message, now, out)
            case e.GpuFacts():
                agent.gpu_facts(message, now, out)
        self._perform(out)

    def hear_start(self, run: Run) -> None:
        self._tell_started(run.folder)

    def hear_exit(self, folder: Folder) -> None:
        if folder.exit is not None:
            self._tell(folder.exit)

    def _tell(self, message: Message) -> None:
        self.receive(names.AGENT, message)

    def _tell_started(self, folder: Folder) -> None:
        if folder.started_at is not None:
            self._tell(e.AttemptStarted(fence=folder.fence, pid=folder.pid, at=folder.started_at))

    # --- what goes out -----------------------------------------------------------------------------------------

    def _perform(self, out: AgentOutbox) -> None:
        if out.journal:
            self._waiting.append(Waiting(out.journal, out.tells))
            self.engine.after(self.engine.between(0.001, 0.4), self._kept)
        elif not self._waiting:
            self._send(out.tells)
        else:
            hasty = [tell for tell in out.tells if isinstance(tell[1], HASTY)]
            if any(waiting.grave for waiting in self._waiting):
                hasty = []
            self._send(hasty)
            self._waiting[-1].tells += [tell for tell in out.tells if tell not in hasty]

    def _kept(self) -> None:
        if not self.alive or not self._waiting:
            return
        if self.asleep:
            self.engine.after(1.0, self._kept)
            return
        done = self._waiting.popleft()
        self.host.disk.journal += done.entries
        for entry in done.entries:
            if isinstance(entry, Forgotten):
                self.host.world.forgets(self.host, entry.fence)
        self._send(done.tells)

    def _send(self, tells: list[tuple[str, Message]]) -> None:
        for to, message in tells:
            if to == names.UPLINK and isinstance(message, c.SendHeartbeat):
                said = self._with_lies(message.said) if self.host.lies else message.said
                world = self.host.world
                world.network.send(self.host.name, UP, world.server.hear, self.host, self.host.key, said)
            else:
                self.receive(to, message)

    def _with_lies(self, said: Heartbeat) -> Heartbeat:
        """A worker that claims the ends of runs that are not its own."""
        others = [fence for fence in self.host.world.server.disk.attempts if fence not in said.attempts]
        if not others or not self.engine.chance(0.3):
            return said
        fence = self.engine.random.choice(others) + self.engine.random.choice([0, 0, 0, 1 << 40])
        lie = Report(phase=Phase.EXITED, exit_class="completed", exit_code=0, emptied=True)
        if fence in self.host.world.fences_of(self.host):
            return said
        return Heartbeat(
            **{**{f: getattr(said, f) for f in said.__struct_fields__}, "attempts": {**said.attempts, fence: lie}}
        )

    def _for_the_host(self, to: str, message: Message) -> None:
        match message:
            case c.WantRun():
                self._want(message)
            case c.WantStop(fence=fence):
                self._stops[fence] = message.reason
                self._stop(fence)
            case c.ForgetRun(fence=fence):
                self._forget(fence)
            case c.RenewLeases(until=until):
                for fence, at in until.items():
                    self._renew(fence, at)
            case c.WatchRelease(fence=fence, uuids=uuids):
                self._watch(fence, uuids)

    # --- ProcessKeeper -----------------------------------------------------------------------------------------

    def _want(self, want: c.WantRun) -> None:
        host, fence = self.host, want.run.fence
        folder = host.disk.folders.get(fence)
        if folder is None and fence in host.launching:
            return
        if folder is None and not want.started:
            host.launch(want)
        elif folder is None:
            uuids = tuple(gpu.uuid for gpu in want.run.gpus)
            folder = host.disk.folders[fence] = Folder(fence, want.run.job_id, uuids, host.incarnation, None)
            host.write_exit(folder, "lost", None, "no trace of the run is left")
        elif folder.exit is not None:
            self._tell(folder.exit)
        else:
            if want.lease_until is not None:
                self._renew(fence, want.lease_until)
            self._tell_started(folder)

    def _stop(self, fence: int) -> None:
        host = self.host
        folder, run = host.disk.folders.get(fence), host.runs.get(fence)
        host.world.is_told_to_stop(host, fence)
        if folder is None:
            host.launching.pop(fence, None)
            folder = host.disk.folders[fence] = Folder(fence, "", (), host.incarnation, None)
            host.write_exit(folder, "cancelled", None, self._stops[fence])
        elif folder.exit is not None:
            self._tell(folder.exit)
        elif run is not None:
            run.keeper_frozen = False
            host.stop(run, "cancelled", STOP_GRACE)

    def _forget(self, fence: int) -> None:
        """Its log stays, until somebody deletes the job."""
        self._stops.pop(fence, None)
        folder = self.host.disk.folders.get(fence)
        if folder is not None and folder.exit is not None:
            folder.forgotten = True
            if self.engine.chance(0.5):
                del self.host.disk.folders[fence]

    def _renew(self, fence: int, until: float) -> None:
        """A lapsed one stays so: its keeper may have acted upon it already."""
        folder = self.host.disk.folders.get(fence)
        want = self.host.launching.get(fence)
        if want is not None and want.lease_until is not None and self.host.boottime() < want.lease_until:
            self.host.launching[fence] = c.WantRun(
                run=want.run, started=want.started, lease_until=max(until, want.lease_until)
            )
        if folder is not None and folder.until is not None and self.host.boottime() < folder.until < until:
            folder.until = until

    # --- LocalGPUAllocator -------------------------------------------------------------------------------------

    def _watch(self, fence: int, uuids: tuple[str, ...]) -> None:
        """Say it once no process is left on them and their memory is back."""
        host = self.host
        if not self.alive:
            return
        busy = any(run.training and set(run.folder.uuids) & set(uuids) for run in host.runs.values())
        ready_at = max((host.draining.get(uuid, (0, 0.0))[1] for uuid in uuids), default=0.0)
        if self.asleep or busy or ready_at > self.engine.now:
            self.engine.after(max(0.5, ready_at - self.engine.now), self._watch, fence, uuids)
        else:
            self._tell(e.GpuEmptied(fence=fence, uuids=uuids))

    def _gpu_facts(self) -> None:
        self._revision += 1
        host = self.host
        facts = e.GpuFacts(
            revision=self._revision,
            observed_at=host.boottime(),
            backend="simulated",
            gpus=host.facts(),
            at_once=host.at_once,
        )
        self._tell(facts)

    # --- time --------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """One chain of ticks, which a freeze interrupts and `wake` begins again."""
        self._tick_at = self.engine.now
        self._on_tick(self._tick_at)

    def _on_tick(self, due: float) -> None:
        if not self.alive or self.asleep or due != self._tick_at:
            return
        self._gpu_facts()
        for fence in list(self._stops):
            self._stop(fence)
        for folder in list(self.host.disk.folders.values()):
            if folder.exit is not None and not folder.forgotten:
                self._tell(folder.exit)
        out = AgentOutbox()
        now = self._now()
        self.agent.tick(now, out)
        self._perform(out)
        self._tick_at = self.engine.now + self.host.true_seconds(min(TICK, max(0.05, self.agent.next_tick(now))))
        self.engine.after(self._tick_at - self.engine.now, self._on_tick, self._tick_at)

    def _now(self) -> Now:
        return Now(self.host.wall(), self.host.boottime())
