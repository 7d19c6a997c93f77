"""What changed on our side, and who is still to be told: the Scheduler of facts, workers of what is wanted now."""

from __future__ import annotations

from collections.abc import Iterable

from gpuyard.actors.model import names
from gpuyard.actors.model.events import WorkerFacts
from gpuyard.actors.model.fleet.facts import fact_of
from gpuyard.actors.model.fleet.outbox import FleetOutbox
from gpuyard.actors.model.fleet.settings import FleetSettings
from gpuyard.actors.model.fleet.worker import Worker
from gpuyard.actors.model.outbox import Now


class Due:
    """Changes are gathered, so that a burst of them is told once. Revisions grow, and begin above those of any fleet
    before this one (`now` is its start), which the Scheduler may have outlived. `identity` is our database's."""

    def __init__(self, settings: FleetSettings, identity: tuple[str, int], now: Now) -> None:
        self._settings = settings
        self._identity = identity
        self._revision = int(now.monotonic * 1_000_000)
        self._syncs: dict[str, Worker] = {}
        self._facts: dict[str, Worker] = {}
        self._gone: list[str] = []

    def facts(self, worker: Worker) -> None:
        """The Scheduler places by something that changed."""
        self._facts[worker.id] = worker

    def sync(self, worker: Worker) -> None:
        """What is wanted of it, or what it may forget, changed."""
        self._syncs[worker.id] = worker

    def gone(self, worker: Worker) -> None:
        """It is deleted."""
        self._syncs.pop(worker.id, None)
        self._facts.pop(worker.id, None)
        self._gone.append(worker.id)

    def synced(self, worker: Worker) -> None:
        """It was just told everything."""
        self._syncs.pop(worker.id, None)

    def take_syncs(self) -> list[Worker]:
        workers = list(self._syncs.values())
        self._syncs.clear()
        return workers

    def tell_changed(self, now: Now, out: FleetOutbox) -> None:
        """WorkerFacts of those that changed, if any did."""
        if self._facts or self._gone:
            gone, self._gone = tuple(self._gone), []
            self._tell(self._facts.values(), now, out, partial=True, gone=gone)

    def tell_all(self, workers: Iterable[Worker], now: Now, out: FleetOutbox) -> None:
        """WorkerFacts of every worker."""
        self._gone.clear()
        self._tell(workers, now, out)

    def _tell(
        self, workers: Iterable[Worker], now: Now, out: FleetOutbox, partial: bool = False, gone: tuple[str, ...] = ()
    ) -> None:
        self._revision += 1
        told = WorkerFacts(
            revision=self._revision,
            workers=tuple(fact_of(worker, self._settings, self._identity, now) for worker in workers),
            partial=partial,
            gone=gone,
            drift=self._settings.drift,
            lease_margin=self._settings.lease_margin,
        )
        out.tell(names.SCHEDULER, told)
        self._facts.clear()
