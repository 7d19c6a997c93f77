"""Mistakes about what is said when, and what may be forgotten then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from gpuyard.actors.model import names
from gpuyard.actors.model.agent import Agent, AgentOutbox
from gpuyard.actors.model.agent.journal import Forgotten
from gpuyard.actors.model.commands import ForgetRun
from gpuyard.actors.model.fleet import (
    Fleet,
    FleetOutbox,
    Worker,
)
from gpuyard.actors.model.fleet.worker import Wanted
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import Heartbeat
from tests.sim.faults import Faults
from tests.sim.mutants.base import Mutant
from tests.sim.server import Server


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
