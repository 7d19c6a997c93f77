"""What the WorkerRegistry tells."""

from __future__ import annotations

from gpuyard.actors.model.message import Message


class WorkerFact(Message, frozen=True, kw_only=True):
    """One worker. `state` is connecting, idle, busy, draining or offline."""

    worker_id: str
    name: str = ""
    state: str = "offline"
    gpus: int = 0
    labels: dict[str, str] = {}


class WorkerFacts(Message, frozen=True, kw_only=True):
    """The workers as the registry knows them. From: WorkerRegistry. To: Scheduler. Newest `revision` wins."""

    revision: int
    workers: tuple[WorkerFact, ...] = ()
