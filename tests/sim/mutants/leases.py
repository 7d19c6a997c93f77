"""Mistakes about how long a run may live without word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from msgspec.structs import replace

from gpuyard.actors.model.agent import Agent, AgentOutbox
from gpuyard.actors.model.commands import WantRun
from gpuyard.actors.model.fleet import (
    Fleet,
    FleetOutbox,
    FleetSettings,
    Worker,
    leases,
)
from gpuyard.actors.model.fleet.worker import Wanted
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import Sync
from tests.sim.faults import Faults
from tests.sim.mutants.base import Mutant


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
