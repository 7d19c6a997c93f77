"""WorkerRegistry: knows the workers, their sessions and leases (DESIGN 3, "know"; DESIGN 8).

In this release no worker can register, so it reports none: `target=worker` jobs wait with `NoMatchingWorker` and
`auto` falls back to local GPUs.
"""

from __future__ import annotations

from typing import Any

from gpuyard.actors.base import Actor, Reply
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ListWorkers, Ready
from gpuyard.actors.model.events import WorkerFacts
from gpuyard.actors.model.message import Message


class WorkerRegistry(Actor):
    """Tells WorkerFacts to the Scheduler; answers ListWorkers."""

    def started(self) -> None:
        self.context.ref(names.SCHEDULER).tell(WorkerFacts(revision=1))

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Ready():
                return True
            case ListWorkers():
                return []
            case _:
                return self.unsupported(message)
