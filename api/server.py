"""uvicorn as gpuyard runs it: over a socket that listens already, with every timeout bounded."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from gpuyard.api.protocol import MAX_HEAD_BYTES, HttpProtocol

KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 3


class Server(uvicorn.Server):
    """`await serve(sockets=[…])` until `should_exit` is set. `serving` is called once requests are taken."""

    def __init__(self, app: FastAPI, serving: Callable[[], None] = lambda: None) -> None:
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
        self._app = app
        self._serving = serving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._serving()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Open event streams would keep uvicorn from ending: they end first."""
        self._app.state.streams.close()
        await super().shutdown(sockets)
