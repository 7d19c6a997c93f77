"""Mistakes about who speaks: lives of a host, copies of it, other workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from gpuyard.actors.model.fleet import (
    Fleet,
    FleetOutbox,
    Worker,
    fleet as fleets,
)
from gpuyard.actors.model.fleet.admission import Verdict, judge
from gpuyard.actors.model.fleet.reports import Reports
from gpuyard.actors.model.outbox import Now
from gpuyard.actors.model.wire import Heartbeat
from tests.sim.faults import Faults
from tests.sim.mutants.base import Mutant


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
