"""Mistakes after an older copy of the database came back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from gpuyard.actors.model.events import WorkerFact
from gpuyard.actors.model.fleet import (
    Worker,
    due,
    facts,
)
from gpuyard.actors.model.orphans import Orphans
from tests.sim.faults import Faults
from tests.sim.mutants.base import Mutant


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
