"""A reference to an actor behind the link: the same `tell` and `ask` as one in this process (`actors.base.Ref`)."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import dataclass

from gpuyard.actors.base import Reply
from gpuyard.actors.model.errors import Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.transport.client import LinkClient


@dataclass(frozen=True, slots=True)
class RemoteRef:
    """Usable from every thread but the client's event loop, where `await client.ask(…)` is the way.

    `timeout` (seconds) bounds how long an answer is waited for.
    """

    client: LinkClient
    name: str
    timeout: float = 10.0

    def tell(self, message: Message) -> None:
        """Send without an answer; what can't be sent is logged by the client."""
        if not self.client.loop.is_closed():
            self.client.loop.call_soon_threadsafe(self.client.tell, self.name, message)

    def ask(self, message: Message) -> Reply:
        """A future of the answer; errors are GpuyardError."""
        if self.client.loop.is_closed():
            reply: Reply = Future()
            reply.set_exception(Unavailable("the link is closed"))
            return reply
        return asyncio.run_coroutine_threadsafe(self.client.ask(self.name, message, self.timeout), self.client.loop)
