"""Mistakes that somebody might make in the protocol, each put into the real classes, one at a time.

Each is a class with a docstring that says what is wrong. `worse` makes certain the faults under which it shows, so that
it is caught within a few stories.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from unittest.mock import patch

from msgspec.structs import replace

from gpuyard.actors.model import names
from gpuyard.actors.model.agent import Agent, AgentOutbox, Entry
from gpuyard.actors.model.agent.journal import Forgotten
from gpuyard.actors.model.agent.order import Order
from gpuyard.actors.model.commands import ForgetRun, WantRun
from gpuyard.actors.model.events import WorkerFact
from gpuyard.actors.model.fleet import (
    Fleet,
    FleetOutbox,
    FleetSettings,
    Worker,
    due,
    facts,
    fleet as fleets,
    leases,
)
from gpuyard.actors.model.fleet.admission import Verdict, judge
from gpuyard.actors.model.fleet.reports import Reports
from gpuyard.actors.model.fleet.states import WorkerEvent
from gpuyard.actors.model.fleet.worker import Wanted
from gpuyard.actors.model.orphans import Orphans
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import Heartbeat, Sync
from tests.sim.faults import Faults
from tests.sim.server import Server
from tests.sim.world import World


class Mutant:
    """`fleet` and `agent` are the classes to play with; `mistake` patches what is no method of theirs."""

    fleet: ClassVar[type[Fleet]] = Fleet
    agent: ClassVar[type[Agent]] = Agent

    @staticmethod
    def worse(faults: Faults) -> None:
        """Partitions of all lengths."""
        faults.partition = 40.0

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        yield

    @classmethod
    def world(cls, seed: int) -> World:
        return World(seed, cls.fleet, cls.agent, cls.worse)


class LeaseFromReceipt(Mutant):
    """The worker counts its lease from when it got the Sync, not from when it sent the heartbeat."""

    class agent(Agent):
        def synced(self, sync: Sync, now: Now, out: AgentOutbox) -> None:
            super().synced(replace(sync, sent_at=now.monotonic), now, out)

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.partition = 40.0
        faults.weather.late, faults.weather.latest, faults.weather.loss = 0.3, 150.0, 0.3


class RenewedByItself(Mutant):
    """The worker renews leases at each tick, whether or not the server was heard."""

    class agent(Agent):
        def tick(self, now: Now, out: AgentOutbox) -> None:
            self._renew(Sync(db_id="", db_epoch=0, session="", n=0, sent_at=now.monotonic), out)
            super().tick(now, out)


class NoMargin(Mutant):
    """The server waits for exactly the lease: neither for slow clocks nor for the time that stopping takes."""

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        with patch.object(FleetSettings, "waited_out", lambda self, lease: lease):
            yield


class NoNewLease(Mutant):
    """After a restart the server counts leases from when its database last noted a heartbeat."""

    class fleet(Fleet):
        def want_run(self, want: WantRun, now: Now, out: FleetOutbox) -> None:
            super().want_run(want, now, out)
            worker = self.workers.get(want.host)
            if want.again and worker is not None and worker.record.heard_at is not None:
                worker.wants[want.run.fence].base = now.monotonic - (now.wall - worker.record.heard_at)

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.server_crash, faults.restores = 60.0, False


class HoldIsLost(Mutant):
    """The policy hold is treated like a lease of its usual length."""

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        def lapses_at(want: Wanted, settings: FleetSettings) -> float:
            lease = want.order.lease_seconds if want.order is not None else None
            return want.base + settings.waited_out(60.0 if lease is None else lease)

        with patch.object(leases, "lapses_at", lapses_at):
            yield


class AnyLifeRenews(Mutant):
    """Whatever life of a host beats, runs of an earlier one are renewed: with an empty disk they never end."""

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        def renew(worker: Worker, incarnation: str, now: float) -> None:
            for want in worker.wants.values():
                want.base = now

        with patch.object(leases, "renew", renew):
            yield

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.host_crash, faults.wipes, faults.server_crash = 60.0, True, 0.0


class AckBeforeDurable(Mutant):
    """An end is acknowledged when it is heard, before the store has it."""

    class fleet(Fleet):
        def _settle(self, worker: Worker, want: Wanted, beat: Heartbeat) -> None:
            if want.ended and want.fence in beat.attempts:
                worker.acks.add(want.fence)
            super()._settle(worker, want, beat)


class AckBeforeReleased(Mutant):
    """An end is acknowledged as soon as it is durable, while its GPUs are still held."""

    class fleet(Fleet):
        def forget_run(self, forget: ForgetRun, now: Now, out: FleetOutbox) -> None:
            super().forget_run(replace(forget, released=True), now, out)


class EmptiedAtExit(Mutant):
    """The worker says that GPUs are empty as soon as the run has ended, without looking."""

    class agent(Agent):
        def _beat(self, now: Now, out: AgentOutbox) -> None:
            for order in self._all():
                if order.end is not None:
                    order.emptied.update(order.uuids)
            super()._beat(now, out)


class ForgottenOnceSaid(Mutant):
    """The worker forgets an end once it has said it, without waiting for the acknowledgement."""

    class agent(Agent):
        def _beat(self, now: Now, out: AgentOutbox) -> None:
            super()._beat(now, out)
            for fence in [order.fence for order in self._book.orders.values() if order.gone()]:
                self._book.write(Forgotten(fence), out)
                out.tell(names.KEEPER, ForgetRun(fence=fence))


class OlderSyncWins(Mutant):
    """Whatever Sync comes last is followed, also one that was overtaken."""

    class agent(Agent):
        def synced(self, sync: Sync, now: Now, out: AgentOutbox) -> None:
            self._newest = (0, -1)
            super().synced(sync, now, out)

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.cancel = 12.0
        faults.weather.late, faults.weather.latest = 0.3, 50.0


class LateStart(Mutant):
    """A run is started however old the Sync is that wants it."""

    class agent(Agent):
        def _too_late(self, lease: float | None, sync: Sync, now: Now) -> bool:
            return False

        def _start(self, order: Order, sync: Sync, now: Now, out: AgentOutbox) -> bool:
            return super()._start(order, replace(sync, sent_at=now.monotonic), now, out)

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.weather.late, faults.weather.latest, faults.weather.loss = 0.5, 200.0, 0.3


class StoppedByAbsence(Mutant):
    """A run that the server does not mention is stopped."""

    class agent(Agent):
        def synced(self, sync: Sync, now: Now, out: AgentOutbox) -> None:
            super().synced(sync, now, out)
            for order in list(self._all()):
                if order.fence not in sync.want and order.end is None:
                    self._stop(order.fence, "not wanted", out)

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.server_crash, faults.restores = 60.0, True


class JournalAfterStart(Mutant):
    """A run is started first and written down afterwards, with whatever is written next."""

    class agent(Agent):
        _late: list[Entry] = []

        def synced(self, sync: Sync, now: Now, out: AgentOutbox) -> None:
            first = AgentOutbox()
            super().synced(sync, now, first)
            out.tells += first.tells
            out.journal += self._late
            self._late = first.journal


class AnySession(Mutant):
    """Whoever has the key is listened to: no look at incarnation and journal, no waiting for silence."""

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        def anybody(worker: Worker, beat: Heartbeat, *rest: Any) -> Verdict:
            verdict = judge(worker, beat, *rest)
            return verdict if verdict is Verdict.BEAT or worker.session is None else Verdict.ADMIT

        with patch.object(fleets, "judge", anybody):
            yield

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.clone = 60.0


class ClonesAreBelieved(Mutant):
    """A clone that was refused is believed once the original falls silent."""

    class fleet(Fleet):
        def _beat(self, worker: Worker, said: Any, now: Now, out: FleetOutbox) -> None:
            worker.record.clones = ()
            super()._beat(worker, said, now, out)

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.clone, faults.worker_crash = 50.0, 20.0
        faults.host_crash = faults.host_freeze = faults.server_crash = 0.0


class StrandedSentOn(Mutant):
    """A rebooted host is given the runs of its earlier life again."""

    class fleet(Fleet):
        def _admit(self, worker: Worker, said: Any, now: Now, out: FleetOutbox) -> None:
            super()._admit(worker, said, now, out)
            for want in worker.wants.values():
                want.incarnation, want.report = said.said.incarnation, None

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.host_crash, faults.wipes = 50.0, True


class AnyFence(Mutant):
    """A report is taken for whatever run it names, whoever has that run."""

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        hear = Reports.hear

        def hear_all(self: Reports, worker: Worker, beat: Heartbeat, complete: bool, out: FleetOutbox) -> None:
            hear(self, worker, beat, complete, out)
            for fence, report in beat.attempts.items():
                owner = self._everybody.get(fence)  # type: ignore[attr-defined]
                if owner is not None and owner is not worker:
                    want = owner.wants[fence]
                    self.of_a_want(owner, want, report, replace(beat, incarnation=want.incarnation), out)

        with patch.object(Reports, "hear", hear_all):
            yield

    class fleet(Fleet):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self._reports._everybody = self._where  # type: ignore[attr-defined]

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.liar = True


class DrainForgotten(Mutant):
    """A drain holds until the next heartbeat of a worker that was silent."""

    class fleet(Fleet):
        def _step(self, worker: Worker, event: WorkerEvent) -> None:
            if event is not WorkerEvent.DRAINED or self._ordered:
                super()._step(worker, event)

        _ordered = False

        def drain(self, worker: str, now: Now, out: FleetOutbox) -> Worker:
            self._ordered = True
            try:
                return super().drain(worker, now, out)
            finally:
                self._ordered = False

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.drain, faults.server_crash, faults.partition = 40.0, 80.0, 60.0


class EffectsBeforeDurable(Mutant):
    """Starts and stops leave before the store has the decision."""

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        commit = Server._commit

        def eager(self: Server, rows: Any, tells: Any) -> None:
            commit(self, rows, [])
            self._send(tells)

        with patch.object(Server, "_commit", eager):
            yield

    @staticmethod
    def worse(faults: Faults) -> None:
        faults.slow_disk = 4.0
        faults.weather.usual = 0.05


def _restored_often(faults: Faults) -> None:
    """Older copies come back while jobs wait for their next attempt or run."""
    faults.server_crash, faults.restores, faults.backup = 40.0, True, 20.0
    faults.partition, faults.host_crash, faults.rotate, faults.delete = 50.0, 0.0, 0.0, 0.0
    faults.crowd = 10


class OrphansForgotten(Mutant):
    """A job is started although a worker reports a run of it that this database did not order."""

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        with patch.object(Orphans, "_set", lambda self, host_id, runs, ours: False):
            yield

    worse = staticmethod(_restored_often)


class RestoredAtOnce(Mutant):
    """After an older copy came back, workers that were not yet heard are not waited for."""

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        with patch.object(Orphans, "_unheard", lambda self, lease: None):
            yield

    worse = staticmethod(_restored_often)


class SettledOnceHeard(Mutant):
    """A worker that beats counts as settled, although an order of the state that is gone may still reach it."""

    @classmethod
    @contextmanager
    def mistake(cls) -> Iterator[None]:
        def fact_of(worker: Worker, *rest: Any) -> WorkerFact:
            fact = facts.fact_of(worker, *rest)
            return replace(fact, settled=fact.orphans is not None)

        with patch.object(due, "fact_of", fact_of):
            yield

    @staticmethod
    def worse(faults: Faults) -> None:
        _restored_often(faults)
        faults.weather.late, faults.weather.latest, faults.weather.loss = 0.6, 150.0, 0.4
        faults.server_crash = 30.0
        faults.partition = faults.worker_crash = faults.worker_freeze = faults.host_freeze = 0.0
        faults.cancel = faults.drain = faults.clone = 0.0


MUTANTS: list[type[Mutant]] = Mutant.__subclasses__()
