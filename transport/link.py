"""The supervisor's end of the local link: calls from the Frontend's process go to actors, answers and events go back.

The actor owns its ZeroMQ socket inside its inbox, without a second thread. Two things to know about that socket's
descriptor: it is edge-triggered and shared by both directions, so everything readable is read after every wake *and*
after every send. Answers come from other actors' threads: they are collected, and one message to self sends them all.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from gpuyard.actors.base import LATER, Actor, Context, Reply
from gpuyard.actors.inbox import FdReady
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetActorStats, GetCommitTimes, Publish, Ready
from gpuyard.actors.model.errors import GpuyardError
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import ActorStats
from gpuyard.transport import codec
from gpuyard.transport.calls_open import AnswersReady, AnswerTray
from gpuyard.transport.sockets import LINK_SOCKET, SocketFolder

log = logging.getLogger("gpuyard.transport")

# Frames that may wait for one client, and frames that are read before other messages get their turn.
HIGH_WATER = 10_000
AT_ONCE = 256
LINGER_MS = 200


class ReadOn(Message, frozen=True, kw_only=True):
    """More frames may wait in the socket. From: the link itself. Repeat: harmless."""


class Link(Actor):
    """Listens in `folder` (a socket 0600 in a folder 0700). `restarts` is what GetActorStats tells of them."""

    def __init__(self, context: Context, folder: Path, restarts: int = 0) -> None:
        super().__init__(context)
        self._path = folder
        self._restarts = restarts
        self._began = time.monotonic()
        self._revision = 0
        # Clients that follow what is published → did they miss something?
        self._watchers: dict[bytes, bool] = {}
        self._file: Path | None = None

    # --- life -------------------------------------------------------------------------------------------------

    def started(self) -> None:
        self._tray = AnswerTray(self.actor_ref)
        self._folder = SocketFolder(self._path)
        self._zmq: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._socket = self._zmq.socket(zmq.ROUTER)
        try:
            self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
            self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
            self._socket.setsockopt(zmq.MAXMSGSIZE, codec.MAX_FRAME)
            self._socket.setsockopt(zmq.LINGER, LINGER_MS)
            self._socket.bind(self._folder.endpoint(LINK_SOCKET))
            self._file = Path(self._folder.path(LINK_SOCKET))
            self._file.chmod(0o600)
            self._fd = int(self._socket.getsockopt(zmq.FD))
            self.inbox.watch(self._fd)
        except BaseException:
            self._close()
            raise
        self._read()

    def stopped(self) -> None:
        self.inbox.unwatch(self._fd)
        self._close()

    def _close(self) -> None:
        self._socket.close()
        self._zmq.term()
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        self._folder.close()

    # --- messages ---------------------------------------------------------------------------------------------

    def handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case FdReady() | AnswersReady() | ReadOn():
                return self._turn()
            case Publish():
                return self._publish(message)
            case GetActorStats():
                return self._stats(reply)
            case Ready():
                return True
            case _:
                return self.unsupported(message)

    def _turn(self) -> None:
        self._send_answers()
        self._read()

    def _read(self) -> None:
        """Forward all frames that wait."""
        for _ in range(AT_ONCE):
            try:
                client, data = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            except ValueError:
                log.warning("a client of the link sent a message that is not one frame")
                continue
            self._forward(client, data)
        self.inbox.after(0, ReadOn())

    def _forward(self, client: bytes, data: bytes) -> None:
        try:
            frame = codec.unpack_upward(data)
        except codec.BadFrame as error:
            log.warning("a client of the link sent no frame: %s", str(error))
            return
        if isinstance(frame, codec.Hello):
            self._watchers[client] = False
            self._send(client, codec.pack(codec.Welcome(revision=self._revision)))
            return
        try:
            message = codec.message_of(frame)
        except GpuyardError as error:
            if frame.id:
                self._send(client, codec.pack_error(frame.id, error))
            return
        ref = self.context.ref(frame.to)
        if frame.id == 0:
            ref.tell(message)
            return
        ref.ask(message).add_done_callback(partial(self._tray.put, client, frame.id))

    def _send_answers(self) -> None:
        for client, data in self._tray.take():
            self._send(client, data)

    def _send(self, client: bytes, data: bytes) -> bool:
        """False when the client does not keep up. One that is gone is forgotten."""
        try:
            self._socket.send_multipart((client, data), zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._watchers.pop(client, None)
        return True

    def _publish(self, message: Publish) -> None:
        self._revision = max(self._revision, message.revision)
        if self._watchers:
            frame = codec.Published(events=message.events, revision=message.revision)
            whole = codec.pack(frame)
            late = codec.pack(codec.Published(events=message.events, revision=message.revision, missed=True))
            for client, missed in list(self._watchers.items()):
                sent = self._send(client, late if missed else whole)
                if client in self._watchers:
                    self._watchers[client] = not sent
        self._turn()

    def _stats(self, reply: Reply | None) -> Any:
        """Depths are read from the directory; the commit times come from the store when it gets to it."""
        if reply is None:
            return None
        depths = self.context.directory.depths()
        times = self.context.ref(names.STORE).ask(GetCommitTimes())

        def answer(times: Reply) -> None:
            seconds = [] if times.exception() else list(times.result())
            reply.set_result(
                ActorStats(
                    inboxes=depths,
                    commit_seconds=seconds,
                    uptime_seconds=time.monotonic() - self._began,
                    restarts=self._restarts,
                )
            )

        times.add_done_callback(answer)
        return LATER
