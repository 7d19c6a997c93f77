"""Mistakes about which word of the server counts, and for how long."""

from __future__ import annotations

from msgspec.structs import replace

from gpuyard.actors.model.agent import Agent, AgentOutbox, Entry
from gpuyard.actors.model.agent.order import Order
from gpuyard.actors.model.fleet import (
    Fleet,
    FleetOutbox,
    Worker,
)
from gpuyard.actors.model.fleet.states import WorkerEvent
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import Sync
from tests.sim.faults import Faults
from tests.sim.mutants.base import Mutant


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
