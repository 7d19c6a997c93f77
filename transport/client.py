"""The other end of the local link: asks actors of the supervisor's process from an asyncio event loop.

It lives in one event loop and needs no thread. A call without a connection fails at once (`Unavailable`: the API
answers 503 with Retry-After); so do all that wait when the connection is lost, since the core that would have
answered is gone. ZeroMQ connects again by itself; then the watchers are told that they may have missed something.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import zmq
from zmq.utils.monitor import parse_monitor_message

from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.errors import GpuyardError, TimedOut, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.transport import codec
from gpuyard.transport.sockets import LINK_SOCKET, SocketFolder

log = logging.getLogger("gpuyard.transport")

HIGH_WATER = 10_000
RECONNECT_MS, RECONNECT_MAX_MS = 20, 500


class Watcher(Protocol):
    """Whoever follows what is published; called in the event loop."""

    def published(self, events: tuple[EventRow, ...], revision: int) -> None: ...
    def interrupted(self) -> None: ...


class LinkClient:
    """`async with LinkClient(folder) as core: await core.ask(names.SCHEDULER, GetStats())`.

    Everything but the constructor belongs to the event loop in which it was entered.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder
        self._numbers = itertools.count(1)
        self._pending: dict[int, tuple[asyncio.Future[Any], type[Message]]] = {}
        self._watchers: list[Watcher] = []
        self._was_connected = False
        self._connected = asyncio.Event()

    # --- life -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        self._folder = SocketFolder(self._path)
        self._zmq: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._socket = self._zmq.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        self._socket.setsockopt(zmq.MAXMSGSIZE, codec.MAX_FRAME)
        self._socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self._socket.connect(self._folder.endpoint(LINK_SOCKET))
        self._fds = [int(self._socket.getsockopt(zmq.FD)), int(self._monitor.getsockopt(zmq.FD))]
        for fd in self._fds:
            self.loop.add_reader(fd, self._wake)
        self._wake()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for fd in self._fds:
            self.loop.remove_reader(fd)
        self._lost("the link is closed")
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()
        self._zmq.term()
        self._folder.close()

    # --- asking -----------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    async def wait_connected(self, timeout: float) -> None:
        """Raises Unavailable when there is no connection within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._connected.wait()
        except TimeoutError:
            raise Unavailable("the core is not running: try again shortly") from None

    async def ask(self, to: str, message: Message, timeout: float = 10.0) -> Any:
        """The answer of the actor `to`. Raises GpuyardError: its own, `Unavailable`, `TimedOut`, `Unsupported`."""
        number = next(self._numbers)
        data = codec.pack_call(number, to, message)
        self._require_connection()
        answer: asyncio.Future[Any] = self.loop.create_future()
        self._pending[number] = (answer, type(message))
        try:
            self._send(data)
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise TimedOut(f"{to} did not answer within {timeout:g} s") from None
        finally:
            self._pending.pop(number, None)

    def tell(self, to: str, message: Message) -> None:
        """Send without an answer; what can't be sent is logged."""
        try:
            self._require_connection()
            self._send(codec.pack_call(0, to, message))
        except GpuyardError as error:
            log.warning("%s to %s was not sent: %s", type(message).__name__, to, error)

    def watch(self, watcher: Watcher) -> None:
        """From now on tell `watcher` what is published."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    # --- the socket -------------------------------------------------------------------------------------------

    def _require_connection(self) -> None:
        """News about the connection come first: a call must not be taken for one of a connection that is gone."""
        self._hear()
        if not self.connected:
            raise Unavailable("the core is starting or restarting: try again shortly")

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            raise Unavailable("the core takes no more calls at the moment: try again shortly") from None
        # The descriptor is edge-triggered: what came in while sending gives no other wake.
        self._read()

    def _wake(self) -> None:
        self._hear()
        self._read()

    def _hear(self) -> None:
        """Read what ZeroMQ says about the connection."""
        while True:
            try:
                news = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if parse_monitor_message(news)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._read()  # has the socket take up its new connection
                self._send(codec.pack(codec.Hello()))
            else:
                self._lost("the core restarts: try again shortly")

    def _lost(self, why: str) -> None:
        self._connected.clear()
        for answer, _ in self._pending.values():
            if not answer.done():
                answer.set_exception(Unavailable(why))
        self._pending.clear()

    def _read(self) -> None:
        while True:
            try:
                data = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                frame = codec.unpack_downward(data)
            except codec.BadFrame as error:
                log.error("the link sent no frame: %s", error)
                continue
            match frame:
                case codec.Answer():
                    self._answer(frame)
                case codec.Published():
                    self._publish(frame)
                case codec.Welcome():
                    self._welcome()

    def _welcome(self) -> None:
        self._connected.set()
        if self._was_connected:
            for watcher in list(self._watchers):
                watcher.interrupted()
        self._was_connected = True

    def _answer(self, frame: codec.Answer) -> None:
        answer, message = self._pending.pop(frame.id, (None, Message))
        if answer is None or answer.done():
            return
        try:
            answer.set_result(codec.value_of(frame, message))
        except GpuyardError as error:
            answer.set_exception(error)

    def _publish(self, frame: codec.Published) -> None:
        for watcher in list(self._watchers):
            if frame.missed:
                watcher.interrupted()
            watcher.published(frame.events, frame.revision)
