"""Frontend: the FastAPI front end as an actor. It owns uvicorn, which runs in an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pykka

from gpuyard.actors.base import Actor, Context, Reply
from gpuyard.actors.model.commands import Ready
from gpuyard.actors.model.errors import GpuyardError
from gpuyard.actors.model.message import Message
from gpuyard.api.app import create_app
from gpuyard.api.core import Core
from gpuyard.api.identity import Authenticator, ByToken, NobodyAlone, OwnerOnLoopback
from gpuyard.api.known import KnownPeople
from gpuyard.api.server import SHUTDOWN_SECONDS, Server
from gpuyard.api.settings import Settings
from gpuyard.api.tls import LiveTls

log = logging.getLogger("gpuyard.api")

START_SECONDS = 15.0
OpenCore = Callable[[], AbstractAsyncContextManager[Core]]


class ServerEnded(Message, frozen=True, kw_only=True):
    """uvicorn ended without being asked to. From: its thread. To: the Frontend itself. Repeat: harmless."""

    why: str


class Frontend(Actor):
    """Serves HTTP on `listener` (a listening socket, which it closes at its end) until it is stopped.

    `open_core` gives the way to the actors; it is entered in the event loop. Who asks is found out by token
    (`ByToken`) unless another `authenticator` is given. Ready answers whether requests are taken.
    """

    def __init__(
        self,
        context: Context,
        listener: socket.socket,
        open_core: OpenCore,
        settings: Settings,
        authenticator: Authenticator | None = None,
    ) -> None:
        super().__init__(context)
        self._listener = listener
        self._open_core = open_core
        self._settings = settings
        self._authenticator = authenticator
        self._server: Server | None = None
        self._settled = threading.Event()
        self._failure: BaseException | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="uvicorn", daemon=True)

    def started(self) -> None:
        self._thread.start()
        if not self._settled.wait(START_SECONDS) or self._failure is not None:
            self.stopped()
            raise RuntimeError(f"the HTTP server did not start: {self._failure}")

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case Ready():
                return self._server is not None and self._server.started
            case ServerEnded():
                raise RuntimeError(message.why)
            case _:
                return self.unsupported(message)

    def stopped(self) -> None:
        """Streams end, requests that are being served get a few seconds, the port is closed."""
        self._stopping = True
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join(SHUTDOWN_SECONDS + 2)
        self._listener.close()

    # --- in the server's thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        why = "the HTTP server ended by itself"
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            log.exception("the HTTP server failed")
            self._failure = error
            why = f"the HTTP server failed: {type(error).__name__}: {error}"
        self._settled.set()
        if not self._stopping:
            try:
                self.actor_ref.tell(ServerEnded(why=why))
            except (pykka.ActorDeadError, GpuyardError):
                pass

    async def _serve(self) -> None:
        async with self._open_core() as core, KnownPeople(core) as people:
            settings = self._settings
            alone = NobodyAlone() if settings.network else OwnerOnLoopback(settings.peer_uid)
            app = create_app(core, settings, self._authenticator or ByToken(people, alone))
            app.state.known_people = people
            people.changed = lambda: app.state.streams.end_where(lambda viewer: not people.still(viewer))
            tls = LiveTls.of(settings.ssl_cert, settings.ssl_key)
            self._server = Server(app, serving=self._settled.set, tls=tls)
            beside = [asyncio.create_task(app.state.samples.collect(core))]
            if tls is not None:
                beside.append(asyncio.create_task(tls.follow()))
            try:
                await self._server.serve(sockets=[self._listener])
            finally:
                for task in beside:
                    task.cancel()
