"""uvicorn as gpuyard runs it: over a socket that listens already, with every timeout bounded."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI

from gpuyard.api.doorway import Crowd, Doorway
from gpuyard.api.protocol import MAX_HEAD_BYTES, HttpProtocol
from gpuyard.api.tls import LiveTls

KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 3
HANDSHAKE_SECONDS = 10
GOODBYE_SECONDS = 1


def _no_cut_request(record: logging.LogRecord) -> bool:
    """A request that was cut because the server stops is no error: hundreds of tracebacks would hide one that is."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


class Server(uvicorn.Server):
    """`await serve(sockets=[…])` until `should_exit` is set. `serving` is called once requests are taken."""

    def __init__(self, app: FastAPI, serving: Callable[[], None] = lambda: None, tls: LiveTls | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=HttpProtocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
        )
        logging.getLogger("uvicorn.error").addFilter(_no_cut_request)
        self._app = app
        self._serving = serving
        self._tls = tls
        self._trusted = app.state.settings.trusted_proxies
        self._crowd = Crowd(self._trusted)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's own for sockets that it is given, but with our context and a bound for handshakes."""
        await self.lifespan.startup()
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if self._tls is not None:
            tls = {
                "ssl": self._tls.context,
                "ssl_handshake_timeout": HANDSHAKE_SECONDS,
                "ssl_shutdown_timeout": GOODBYE_SECONDS,
            }
        self.servers = [
            await loop.create_server(
                self._protocol, sock=Doorway(listener, self._trusted), backlog=self.config.backlog, **tls
            )
            for listener in sockets or ()
        ]
        self.started = True
        self._serving()

    def _protocol(self) -> HttpProtocol:
        return HttpProtocol(self.config, self.server_state, self.lifespan.state, crowd=self._crowd)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Open event streams would keep uvicorn from ending: they end first."""
        self._app.state.streams.close()
        await super().shutdown(sockets)
