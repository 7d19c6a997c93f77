"""The server: the real Fleet, and the real deciding core as the Scheduler drives it, over a disk that takes its time.

A decision's rows and effects wait together until the rows are durable, in order; a crash keeps some of the waiting rows
and none of their effects. A commit may fail: then the core is built anew from the disk while the fleet lives on.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gpuyard.actors.model import cancel, commands as c, events as e, host_news, names, orphan_news, policy, runs, submit
from gpuyard.actors.model.commands import SubmitJob
from gpuyard.actors.model.commit import InsertAttempt
from gpuyard.actors.model.errors import GpuyardError
from gpuyard.actors.model.fleet import Fleet, FleetOutbox
from gpuyard.actors.model.job import JobSpec
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.people import OWNER
from gpuyard.actors.model.wire import Heartbeat
from gpuyard.actors.model.yard import Yard
from tests.sim.network import DOWN
from tests.sim.store import DB_ID, AnyRow, SimStore

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.world import World

TICK = 2.0
WALL = 1_000_000_000.0
Tells = list[tuple[str, Message]]


class Server:
    """`disk` survives everything; `fleet` and `yard` are of this life. `keys` is the gateway's allow-list."""

    def __init__(self, world: World) -> None:
        self.world, self.engine = world, world.engine
        self.disk = SimStore()
        self.up = self.frozen = False
        self.life = 0
        self.fleet: Fleet
        self.yard: Yard
        self.keys: dict[str, str] = {}
        self._routes: dict[bytes, Host] = {}
        self._ids = itertools.count(1)
        self._ticks = 0
        self._under_way: deque[tuple[list[AnyRow], Tells]] = deque()
        self._lazy: list[AnyRow] = []
        self._inbox: list[tuple[Host, str, Heartbeat]] = []

    def now(self) -> Now:
        return Now(WALL + self.engine.now, self.engine.now)

    # --- lives -------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        self.up, self.life = True, self.life + 1
        self.engine.say("server", "starts, epoch {}", self.disk.db_epoch)
        self.world.begins_anew()
        self._build_fleet()
        self._build_yard()
        self._tick(self.life)

    def crash(self) -> None:
        """kill -9: some of the commits under way are durable, in order; nobody hears of it."""
        if not self.up:
            return
        self.engine.say("server", "is killed with {} commits under way", len(self._under_way))
        self.up = self.frozen = False
        self._inbox.clear()
        while self._under_way and self.engine.chance(0.5):
            self._write(self._under_way.popleft()[0])
        self._under_way.clear()
        self._lazy.clear()

    def freeze(self) -> None:
        """SIGSTOP: what is sent to it waits."""
        self.engine.say("server", "freezes")
        self.frozen = True

    def thaw(self) -> None:
        """Timers that are overdue fire first, then comes what was sent meanwhile."""
        if not self.frozen:
            return
        self.engine.say("server", "thaws with {} messages", len(self._inbox))
        self.frozen = False
        self._tick(self.life)
        inbox, self._inbox = self._inbox, []
        for host, key, beat in inbox:
            self.hear(host, key, beat)

    def reload_fleet(self) -> None:
        """The registry alone begins anew. It asks the store behind what it has told it."""
        told = any(_of_the_registry(rows) for rows, _ in self._under_way)
        if self.up and not self.frozen and not told:
            self.engine.say("server", "the registry begins anew")
            self._build_fleet()
            self._fleet(lambda now, told: self.fleet.watch(now, told))
            self.decide(lambda yard, now, out: runs.want_again(yard, c.WantAgain(), now, out))

    def restore(self, copy: SimStore) -> None:
        """Put an older state in the place of the disk, as `gpuyard db restore` does: its epoch grows past all."""
        epoch = self.disk.db_epoch
        self.world.abandons(set(self.disk.attempts) - set(copy.attempts))
        self.disk = copy
        self.disk.db_epoch = epoch + 1
        self.engine.say("server", "its database is restored from an older copy")

    def _build_fleet(self) -> None:
        records = self.disk.records()
        self.fleet = self.world.fleet_class(self.world.settings, DB_ID, self.disk.db_epoch, records, self.now())
        self.keys = dict(self.fleet.keys().keys)

    def _build_yard(self) -> None:
        limits = Limits(local_cpu_job_max_concurrent=8)
        self.yard = Yard(self.disk.snapshot(), lambda: f"job{next(self._ids)}", limits, lease_seconds=60.0)
        out = Outbox("sim")
        runs.want_all(self.yard, out)
        self._send(out.tells)
        self._fleet(lambda now, told: self.fleet.watch(now, told))

    # --- what comes in -----------------------------------------------------------------------------------------

    def hear(self, host: Host, key: str, beat: Heartbeat) -> None:
        """A frame from the network; the gateway drops what comes with a key that is not allowed."""
        user_id = self.keys.get(key)
        if self.frozen:
            self._inbox.append((host, key, beat))
            return
        if not self.up or user_id is None:
            return
        route = host.name.encode()
        self._routes[route] = host
        said = e.PeerSaid(user_id=user_id, route=route, said=beat, key=key)
        self._fleet(lambda now, out: self.fleet.heard(said, now, out))

    def _fleet(self, do: Callable[[Now, FleetOutbox], Any]) -> Any:
        """One message for the registry, and what follows from it."""
        out, now = FleetOutbox("sim"), self.now()
        answer = do(now, out)
        if out.lazy:
            self._commit(list(out.lazy), [])
        if out.records:
            self._commit(list(out.records), out.tells)
        else:
            self._send(out.tells)
        flushed = FleetOutbox("sim")
        self.fleet.flush(now, flushed)
        self._send(flushed.tells)
        return answer

    def decide(self, do: Callable[[Yard, Now, Outbox], Any]) -> Any:
        """One message for the Scheduler: rows first, then their effects."""
        out = Outbox("sim")
        answer = do(self.yard, self.now(), out)
        self._lazy += out.lazy
        for row in out.rows:
            if isinstance(row, InsertAttempt):
                self.world.assigns(row.attempt.fence, row.attempt.host)
        if out.rows:
            self._commit([*self._lazy, *out.rows], out.tells)
            self._lazy = []
        elif out.tells or self._under_way:
            self._commit([], out.tells)
        return answer

    # --- the disk ----------------------------------------------------------------------------------------------

    def _commit(self, rows: list[AnyRow], tells: Tells) -> None:
        self._under_way.append((rows, tells))
        self.engine.after(self.engine.between(0.001, self.world.faults.slow_disk), self._durable, self.life)

    def _durable(self, life: int) -> None:
        if not self.up or life != self.life or not self._under_way:
            return
        if self.frozen:
            self.engine.after(1.0, self._durable, life)
            return
        if self.engine.chance(self.world.faults.failed_commits):
            self.engine.say("server", "a commit fails: the core is rebuilt")
            kept = [(rows, tells) for rows, tells in self._under_way if _of_the_registry(rows)]
            self._under_way, self._lazy = deque(kept), []
            self._build_yard()
            return
        rows, tells = self._under_way.popleft()
        self._write(rows)
        self._send(tells)

    def _write(self, rows: list[AnyRow]) -> None:
        self.disk.write(rows)
        self.world.wrote(rows)

    # --- what goes out -----------------------------------------------------------------------------------------

    def _send(self, tells: Tells) -> None:
        for to, message in tells:
            if to == names.WORKERS:
                self._to_the_fleet(message)
            elif to == names.SCHEDULER:
                self._to_the_scheduler(message)
            elif isinstance(message, c.SendToPeer):
                host = self._routes[message.route]
                self.world.acknowledges(message.sync.ack)
                self.world.network.send(host.name, DOWN, host.receive, message.sync)
            elif isinstance(message, c.AllowKeys):
                self.keys = dict(message.keys)

    def _to_the_fleet(self, message: Message) -> None:
        match message:
            case c.WantRun():
                self._fleet(lambda now, out: self.fleet.want_run(message, now, out))
            case c.WantStop(fence=fence):
                self.world.wants_stop(fence)
                self._fleet(lambda now, out: self.fleet.want_stop(message, now, out))
            case c.ForgetRun():
                self._fleet(lambda now, out: self.fleet.forget_run(message, now, out))
            case c.WantedComplete():
                self._fleet(lambda now, out: self.fleet.wanted_complete(message, now, out))

    def _to_the_scheduler(self, message: Message) -> None:
        match message:
            case e.WorkerFacts():
                self.decide(lambda yard, now, out: host_news.workers_changed(yard, message, now, out))
            case e.AttemptStarted():
                self.decide(lambda yard, now, out: runs.started(yard, message, now, out))
            case e.AttemptExited():
                self.engine.say(
                    "fleet", "{} of {} ended: {} {}", message.fence, message.host, message.exit_class, message.message
                )
                self.world.is_told_of_an_end(message)
                self.decide(lambda yard, now, out: runs.exited(yard, message, now, out))
            case e.GpuEmptied():
                self.world.is_told_of_empty_gpus(message)
                self.decide(lambda yard, now, out: runs.emptied(yard, message, now, out))
            case e.OrphanSeen():
                self.world.orphans_seen.add(message.fence)
                self.decide(lambda yard, now, out: runs.orphan_seen(yard, message, now, out))

    # --- time and people ---------------------------------------------------------------------------------------

    def _tick(self, life: int) -> None:
        if not self.up or life != self.life or self.frozen:
            return
        self._ticks += 1
        self._fleet(lambda now, out: self.fleet.tick(now, out))
        self.decide(_look_around)
        self.engine.after(TICK, self._tick_again, life, self._ticks)

    def _tick_again(self, life: int, ticks: int) -> None:
        """One chain of ticks, which a freeze interrupts and a thaw begins again."""
        if ticks == self._ticks:
            self._tick(life)

    def submit(self, spec: JobSpec) -> str | None:
        """The job's id, once decided (it may not be durable yet); None while the server is down."""
        if not self.up or self.frozen:
            return None
        answer = self.decide(lambda yard, now, out: submit.submit_one(yard, SubmitJob(spec=spec, by=OWNER), now, out))
        return getattr(answer, "job_id", None)

    def cancel(self, job_id: str) -> None:
        if self.up and not self.frozen and job_id in self.yard.jobs:
            command = c.CancelJob(job_id=job_id, by=OWNER)
            self.decide(lambda yard, now, out: cancel.cancel_one(yard, command, now, out))
            # A cancel holds processing back until somebody asks for work: somebody does.
            self.decide(lambda yard, now, out: policy.process(yard, now, out))

    def stop_orphan(self, worker_id: str, fence: int) -> bool:
        """False when it is none there."""
        if not self.up or self.frozen:
            return False
        command = c.StopOrphan(host=worker_id, fence=fence)
        try:
            self.decide(lambda yard, now, out: orphan_news.stop(yard, command, now, out))
        except GpuyardError:
            return False
        return True

    def order(self, do: Callable[[Fleet, Now, FleetOutbox], Any]) -> bool:
        """An administrator's command for the registry; False when it was refused."""
        if not self.up or self.frozen:
            return False
        try:
            self._fleet(lambda now, out: do(self.fleet, now, out))
        except GpuyardError:
            return False
        return True


def _look_around(yard: Yard, now: Now, out: Outbox) -> None:
    """As the Scheduler does at its tick."""
    orphan_news.look(yard, now, out)
    policy.start_what_may(yard, now, out)


def _of_the_registry(rows: list[AnyRow]) -> bool:
    return bool(rows) and all(type(row).__name__ in ("PutRecord", "DropRecord", "AppendAudit") for row in rows)
