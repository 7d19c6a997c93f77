"""An edge of the supervisor's process, as the Frontend is one: it asks over the link, from an event loop's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpuyard.actors.model.errors import GpuyardError
from gpuyard.actors.model.message import Message
from gpuyard.transport.client import LinkClient


class Edge:
    """Use it through `edge`."""

    def __init__(self, client: LinkClient) -> None:
        self._client = client

    def ask(self, to: str, message: Message, timeout: float = 5.0) -> Any:
        """The answer. Raises GpuyardError."""
        asked = asyncio.run_coroutine_threadsafe(self._client.ask(to, message, timeout), self._client.loop)
        return asked.result(timeout + 10)

    def try_to_ask(self, to: str, message: Message, timeout: float = 5.0) -> Any:
        """The answer, or the error."""
        try:
            return self.ask(to, message, timeout)
        except GpuyardError as error:
            return error


@contextmanager
def edge(sockets: Path) -> Iterator[Edge]:
    """An edge to the link whose sockets are in that folder, whether or not it is there yet."""
    made: list[LinkClient] = []
    entered, left = threading.Event(), asyncio.Event()

    async def live() -> None:
        async with LinkClient(sockets) as client:
            made.append(client)
            entered.set()
            await left.wait()

    thread = threading.Thread(target=lambda: asyncio.run(live()), name="edge")
    thread.start()
    assert entered.wait(10)
    try:
        yield Edge(made[0])
    finally:
        made[0].loop.call_soon_threadsafe(left.set)
        thread.join(30)
