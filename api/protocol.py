"""One HTTP connection: uvicorn's, with what a public error contract and slow or hostile peers ask for.

Added to uvicorn's: each request's scope knows its connection (whose peer's uid is looked up once); what can't be
parsed is answered in the one error form (400, or 431 when the head is too long); a head that does not arrive in time
is answered 408; connections beyond a bound are answered 503 at once; whoever takes none of an answer is hung up on.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol
from uvicorn.server import ServerState

from gpuyard.actors.model.errors import Busy, GpuyardError
from gpuyard.api.doorway import Crowd
from gpuyard.api.errors import STATUS, HeadTooLarge, Malformed, RequestTimeout, body_of
from gpuyard.api.guard import SECURITY_HEADERS
from gpuyard.api.peer import Connection

HEAD_SECONDS = 15.0
WRITE_SECONDS = 60.0
MAX_HEAD_BYTES = 64 * 1024
MAX_CONNECTIONS = 2_000
# Of one address: a whole team behind one router, but not all of the above. Not of this machine, nor of a proxy of ours.
MAX_OF_ADDRESS = 500


class HttpProtocol(H11Protocol):
    """Given to uvicorn as `Config(http=HttpProtocol)`. `head_seconds` bounds how long a head may take, `write_seconds`
    how long the peer may leave what is buffered for it untaken."""

    head_seconds = HEAD_SECONDS
    write_seconds = WRITE_SECONDS
    max_connections = MAX_CONNECTIONS
    max_of_address = MAX_OF_ADDRESS

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        super().__init__(config, server_state, dict(app_state), _loop)
        self._crowd = crowd or Crowd()
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state["connection"] = Connection(self.client, _address(self.server), transport.abort)
        of_address = self._crowd.enter(self.client[0]) if self.client else 0
        if len(self.connections) > self.max_connections:
            self._answer(Busy("too many connections: try again shortly"))
        elif of_address > self.max_of_address:
            self._answer(Busy("too many connections from this address: close some, and try again"))
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        self._taken()
        if self.client:
            self._crowd.leave(self.client[0])
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Idle although bytes came: they are the beginning of a head.
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        else:
            self._head_came()

    def pause_writing(self) -> None:
        """More is buffered for the peer than it takes."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taken()

    def _taken(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self._head_came()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn while it handles h11's error."""
        hint = getattr(sys.exc_info()[1], "error_status_hint", 400)
        if hint == 431:
            self._answer(HeadTooLarge(f"the request's head is longer than {MAX_HEAD_BYTES // 1024} KiB"))
        else:
            self._answer(Malformed("this is not a valid HTTP request"))

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._head_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        self._answer(RequestTimeout(f"the request's head did not arrive within {self.head_seconds:g} s"))

    def _answer(self, error: GpuyardError) -> None:
        """Answer `error` by hand and close: there is no request that the app could answer."""
        status = STATUS[error.code]
        headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *SECURITY_HEADERS]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        body = body_of(error.detail, error.code, secrets.token_hex(8))
        headers.append((b"content-length", str(len(body)).encode()))
        response = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])
        try:
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # an answer is on its way already
        self.transport.close()


def _address(server: tuple[str, int | None] | None) -> tuple[str, int] | None:
    return (server[0], server[1]) if server is not None and server[1] is not None else None
