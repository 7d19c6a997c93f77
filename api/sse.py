"""Server-sent events: the streams that are open, and the one form in which they are sent.

A stream ends when its source does (or can't be read any more), when the client hangs up, and when the server shuts
down: open streams would keep uvicorn from ending. Clients reconnect by themselves. Quiet streams carry a comment now
and then, so that proxies and laptops keep the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from starlette.responses import Response

from gpuyard.actors.model.errors import Busy, GpuyardError
from gpuyard.actors.model.people import Viewer
from gpuyard.api.errors import RateLimited

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

KEEPALIVE = b": keep-alive\n\n"
# A client that has not taken a piece within this time is cut off.
SEND_SECONDS = 30.0


def frame(data: Any, event: str | None = None, id: int | str | None = None) -> bytes:
    """One event. `data` is text (each line gets a `data:` line) or anything that becomes JSON."""
    lines = [] if id is None else [f"id: {id}"]
    if event is not None:
        lines.append(f"event: {event}")
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    lines += [f"data: {line}" for line in text.split("\n")]
    return ("\n".join(lines) + "\n\n").encode()


class Streams:
    """The open streams of this process: how many, and the end of them all."""

    def __init__(self, most: int, keepalive: float, most_of_one: int = 64) -> None:
        self.keepalive = keepalive
        self._most = most
        self._most_of_one = most_of_one
        self._ends: dict[asyncio.Event, Viewer | None] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._ends)

    def admit(self) -> None:
        """Raises Busy when no more may be opened."""
        if self._closed or len(self._ends) >= self._most:
            raise Busy(f"{len(self._ends)} event streams are open: try again shortly")

    def entered(self, viewer: Viewer | None = None) -> asyncio.Event:
        """Count one more, of `viewer`; the event is set when it must end. Raises RateLimited for one who has many."""
        if viewer is not None and viewer.token_id is not None:
            own = sum(one is not None and one.user_id == viewer.user_id for one in self._ends.values())
            if own >= self._most_of_one:
                raise RateLimited(f"{own} event streams of yours are open: close some", retry_after=5)
        end = asyncio.Event()
        if self._closed:
            end.set()
        self._ends[end] = viewer
        return end

    def left(self, end: asyncio.Event) -> None:
        self._ends.pop(end, None)

    def end_where(self, gone: Callable[[Viewer], bool]) -> None:
        """End the streams of those who may not be here any more (their clients try to come back, as they now are)."""
        for end, viewer in self._ends.items():
            if viewer is not None and gone(viewer):
                end.set()

    def close(self) -> None:
        """End all streams, and admit no more. In the event loop's thread."""
        self._closed = True
        for end in self._ends:
            end.set()


class EventStream(Response):
    """An answer that goes on: sends what `source` yields (complete frames) as it comes. Raises Busy at once."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, source: AsyncIterator[bytes]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        streams.admit()
        self._streams = streams
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        end = self._streams.entered(scope.get("state", {}).get("viewer"))
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(end.wait()),
            asyncio.ensure_future(_hung_up(receive)),
        ]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._pump(waits, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            connection = scope.get("state", {}).get("connection")
            if connection is not None:
                connection.abort()
        finally:
            self._streams.left(end)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _pump(self, waits: list[asyncio.Future[Any]], send: Send) -> None:
        """Send until the source or one of `waits` ends."""
        following: asyncio.Future[bytes] = asyncio.ensure_future(anext(self._source))
        try:
            while True:
                done, _ = await asyncio.wait(
                    [following, *waits], timeout=self._streams.keepalive, return_when=asyncio.FIRST_COMPLETED
                )
                if any(wait in done for wait in waits):
                    return
                piece = KEEPALIVE
                if following in done:
                    try:
                        piece = following.result()
                    except (StopAsyncIteration, GpuyardError):
                        return
                    following = asyncio.ensure_future(anext(self._source))
                async with asyncio.timeout(SEND_SECONDS):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            closing = getattr(self._source, "aclose", None)
            if closing is not None:
                await closing()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
