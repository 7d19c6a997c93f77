"""A real Frontend in the test's process: uvicorn on a free port of 127.0.0.1, over actors of the test."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetGpus, GetStats
from gpuyard.actors.model.commit import EventRow
from gpuyard.api.core import LocalCore
from gpuyard.api.frontend import Frontend
from gpuyard.api.identity import Authenticator, OwnerOnLoopback
from gpuyard.api.process import bind
from gpuyard.api.settings import Settings
from tests.answering import Cast

# What the Frontend asks by itself, whenever its clock says so (api/samples.py).
SAMPLED = (GetStats, GetGpus)


@dataclass
class Reply:
    """What came back. `json` is the decoded body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A Frontend that serves; `publish` tells its streams what the core would publish."""

    port: int
    cast: Cast
    cores: list[tuple[asyncio.AbstractEventLoop, LocalCore]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def untouched(self) -> bool:
        """No actor has heard anything but what the Frontend asks for its own charts."""
        return not [message for heard in self.cast.heard.values() for message in heard if type(message) not in SAMPLED]

    def publish(self, events: Sequence[EventRow], revision: int) -> None:
        loop, core = self.cores[-1]
        loop.call_soon_threadsafe(core.publish, events, revision)

    def interrupt(self) -> None:
        """As when the link to the core was cut."""
        loop, core = self.cores[-1]
        for watcher in core._watchers:
            loop.call_soon_threadsafe(watcher.interrupted)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """One request on a connection of its own; `headers` with underscores for dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def raw(self, data: bytes, then: Iterable[bytes] = ()) -> Reply:
        """The answer to these bytes (and whatever `then` gives, as long as the server takes it)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as sock:
            try:
                sock.sendall(data)
                for more in then:
                    sock.sendall(more)
            except (BrokenPipeError, ConnectionResetError):
                pass
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    @contextmanager
    def stream(self, path: str = "/api/events", **headers: str) -> Iterator[Stream]:
        """An open event stream."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            yield Stream(answer)
        finally:
            connection.close()


class Stream:
    """Server-sent events as they come."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.headers = {k.lower(): v for k, v in answer.getheaders()}
        self._answer = answer

    def frame(self) -> dict[str, str]:
        """The next frame: field → value, a comment under ""; empty at the end of the stream."""
        found: dict[str, str] = {}
        while line := self._answer.readline():
            text = line.decode().rstrip("\n")
            if not text:
                return found
            name, _, value = text.partition(":")
            found[name] = value.strip()
        return found

    def until(self, event: str) -> list[dict[str, str]]:
        """The frames up to the first one of this kind, which is the last in the list."""
        frames = []
        while frame := self.frame():
            frames.append(frame)
            if frame.get("event") == event:
                return frames
        raise AssertionError(f"the stream ended without {event}: {frames}")


@contextmanager
def frontend(
    cast: Cast, settings: Settings | None = None, authenticator: Authenticator | None = None
) -> Iterator[Served]:
    """Serve `cast`'s actors until the block ends; then the Frontend must stop in order. Nobody plays People: unless
    an `authenticator` says otherwise the owner asks."""
    settings = settings or Settings()
    listener = bind("127.0.0.1", 0)
    served = Served(listener.getsockname()[1], cast)

    @asynccontextmanager
    async def open_core() -> AsyncIterator[LocalCore]:
        core = LocalCore(cast.directory)
        served.cores.append((asyncio.get_running_loop(), core))
        yield core

    cast.start(
        Frontend, names.FRONTEND, listener, open_core, settings, authenticator or OwnerOnLoopback(settings.peer_uid)
    )
    try:
        yield served
    finally:
        cast.end(names.FRONTEND)
