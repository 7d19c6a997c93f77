"""CloudDispatcher: knows the cloud providers and their health (DESIGN 3, "know").

In this release no provider exists, so it reports none and a cloud submit is refused as "not configured". The facts
are told again at each beat, so a Scheduler that was rebuilt learns them by itself.
"""

from __future__ import annotations

from typing import Any

from gpuyard.actors.base import Actor, Reply
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import ListProviders, Ready
from gpuyard.actors.model.events import ProviderFacts
from gpuyard.actors.model.message import Message, Tick

BEAT_SECONDS = 5.0


class CloudDispatcher(Actor):
    """Tells ProviderFacts to the Scheduler; answers ListProviders."""

    def started(self) -> None:
        self._revision = 0
        self._tell()

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Ready():
                return True
            case Tick():
                return self._tell()
            case ListProviders():
                return []
            case _:
                return self.unsupported(message)

    def _tell(self) -> None:
        self._revision += 1
        self.context.ref(names.SCHEDULER).tell(ProviderFacts(revision=self._revision))
        self.inbox.after(BEAT_SECONDS, Tick())
