"""The API's way to the actors: `Core`, whatever lies between.

In the Frontend's process it is the client of the local link; `LocalCore` asks actors of this very process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from gpuyard.actors.base import Directory
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.errors import TimedOut
from gpuyard.actors.model.message import Message


class Watcher(Protocol):
    """Whoever follows the published events. Both methods run in the event loop and must not block."""

    def published(self, events: Sequence[EventRow], revision: int) -> None:
        """Durable events, in order, and the queue's committed revision after them."""

    def interrupted(self) -> None:
        """Events may have been missed: whoever needs all of them reads them again."""


class Core(Protocol):
    """Ask any actor by its name (`model.names`)."""

    async def ask(self, to: str, message: Message, timeout: float = 10.0) -> Any:
        """The actor's answer. Raises GpuyardError: the actor's own, `Unavailable`, or `TimedOut` after `timeout` s."""

    def watch(self, watcher: Watcher) -> None:
        """From now on tell `watcher` what is published."""

    def unwatch(self, watcher: Watcher) -> None: ...


@dataclass(frozen=True, slots=True)
class RequestCore:
    """A `Core` for one HTTP request: each message without a `cause` gets the request's id."""

    core: Core
    cause: str

    async def ask(self, to: str, message: Message, timeout: float = 10.0) -> Any:
        if not message.cause:
            message = msgspec.structs.replace(message, cause=self.cause)
        return await self.core.ask(to, message, timeout)

    def watch(self, watcher: Watcher) -> None:
        self.core.watch(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        self.core.unwatch(watcher)


class LocalCore:
    """A `Core` over the actors of a directory in this process."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._watchers: list[Watcher] = []

    async def ask(self, to: str, message: Message, timeout: float = 10.0) -> Any:
        future = asyncio.wrap_future(self._directory.ref(to).ask(message))
        try:
            return await asyncio.wait_for(future, timeout)
        except TimeoutError:
            raise TimedOut(f"{to} did not answer within {timeout:g} s") from None

    def watch(self, watcher: Watcher) -> None:
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def publish(self, events: Sequence[EventRow], revision: int) -> None:
        """Tell the watchers (in the event loop's thread)."""
        for watcher in list(self._watchers):
            watcher.published(events, revision)
