"""What both sockets of a worker have in common: a connection that is made again and again, a session, calls both ways.

The actor owns its sockets inside its inbox. There is one path for every kind of end (a denial, a break, silence, a
server that is not there): close, wait, build a new socket. Waits double from `first_pause` to `last_pause`, with some
randomness, so that a thousand workers do not return in one instant.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

import zmq

from gpuyard.actors.base import LATER, Actor, Context, Reply
from gpuyard.actors.inbox import FdReady
from gpuyard.actors.model.commands import CallPeer, Ready, TellPeer
from gpuyard.actors.model.errors import GpuyardError, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.wire import Heartbeat, Sync
from gpuyard.transport import codec, wire_codec as wire
from gpuyard.transport.calls import Table
from gpuyard.transport.calls_open import AnswersReady, AnswerTray, CallsOut
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.peer_server import AT_ONCE, SOON, CallExpired, ReadOn
from gpuyard.transport.session import PeerMisbehaved, State, WorkerSession
from gpuyard.transport.token import WorkerToken
from gpuyard.transport.uplink_socket import UplinkSocket

log = logging.getLogger("gpuyard.transport")

SERVER: Final = b""


class Redial(Message, frozen=True, kw_only=True):
    """Build the socket now. From: the actor's own timer. Repeat: only the newest `number` counts."""

    number: int


class Overdue(Message, frozen=True, kw_only=True):
    """Attempt `number` has had its time: give it up unless the session stands. From: the actor's own timer."""

    number: int


@dataclass(frozen=True)
class PeerClientSettings:
    """`endpoints` (None: the token's) are tried in turn. Seconds; a denied key waits `denied_pause` at least."""

    token: WorkerToken
    endpoints: tuple[Endpoint, ...] | None = None
    ping_seconds: float = 5.0
    patience: float = 15.0
    first_pause: float = 0.1
    last_pause: float = 15.0
    denied_pause: float = 1.0
    version: str = field(default="", compare=False)


class PeerClient(Actor):
    """Subclasses say what their socket is for, and handle what only they know."""

    purpose: ClassVar[str]
    # What may be asked of the server's actors here, and what the server may ask of ours.
    ours: ClassVar[Table]
    theirs: ClassVar[Table]

    def __init__(self, context: Context, settings: PeerClientSettings) -> None:
        super().__init__(context)
        self._settings = settings
        self._session = WorkerSession(self.purpose, settings.version)
        self._calls = CallsOut(self.ours)
        self._socket: UplinkSocket | None = None
        self.dialled: Endpoint | None = None
        # Which attempt to connect this is, and how many have failed since the session last stood.
        self._attempt = 0
        self._failures = 0

    # --- life ---

    def started(self) -> None:
        self._tray = AnswerTray(self.actor_ref)
        self._zmq: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        try:
            self._opened()
        except BaseException:
            self._hang_up()
            self._zmq.term()
            raise

    def stopped(self) -> None:
        self._hang_up()
        self._zmq.term()
        self._calls.lose("the link is closed")

    # --- what a subclass adds ---

    def _opened(self) -> None:
        """At the start."""
        self._dial()

    def _endpoints(self) -> tuple[Endpoint, ...]:
        return self._settings.endpoints or self._settings.token.endpoints

    def _stands(self, greeted: wire.Greeted) -> None:
        """The session stands (also told again when the server says something new in its greeting)."""

    def _fell(self, reason: str, refused: bool) -> None:
        """It stands no more, or could not be made."""

    def _synced(self, sync: Sync) -> None:
        """The newest Sync of those that waited."""

    # --- messages ---

    def handle(self, message: Message, reply: Reply | None) -> Any:
        try:
            return self._handle(message, reply)
        finally:
            # Whatever was sent may have eaten the wake for what can be read.
            self._read()

    def _handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case FdReady() | ReadOn():
                return self._look()
            case AnswersReady():
                return self._send_answers()
            case CallPeer():
                return self._ask(message, reply)
            case TellPeer():
                return self._tell(message)
            case CallExpired(number=number):
                return self._calls.expire(number)
            case Redial(number=number):
                return self._dial() if number == self._attempt and self._socket is None else None
            case Overdue(number=number):
                return self._overdue(number)
            case Ready():
                return True
            case _:
                return self.unsupported(message)

    # --- the connection ---

    @property
    def up(self) -> bool:
        return self._session.state is State.UP

    def _dial(self) -> None:
        self._attempt += 1
        endpoints = self._endpoints()
        self.dialled = endpoint = endpoints[self._failures % len(endpoints)]
        log.debug("connecting to %s (%s)", endpoint, self.purpose)
        try:
            socket = UplinkSocket(self._zmq, endpoint, self._settings.token, self._settings.ping_seconds)
        except zmq.ZMQError as error:
            self._failed(f"{endpoint}: {error}", denied=False)
            return
        self._socket = socket
        for fd in socket.fds:
            self.inbox.watch(fd)
        self.inbox.after(self._settings.patience, Overdue(number=self._attempt))
        self._look()

    def _hang_up(self) -> None:
        if self._socket is not None:
            for fd in self._socket.fds:
                self.inbox.unwatch(fd)
            self._socket.close()
            self._socket = self.dialled = None

    def _look(self) -> None:
        """What has become of the connection."""
        socket = self._socket
        for news in socket.news() if socket is not None else ():
            if news.connected:
                self._send(wire.pack(self._session.connected()))
            else:
                self._failed(news.reason, news.denied)
                return
        self._send_answers()

    def _failed(self, reason: str, denied: bool) -> None:
        """Whatever ended it: a new socket after a pause."""
        declined = self._session.declined
        if declined is not None:
            reason, denied = declined.detail, True
        self._leave(reason)
        pause = min(self._settings.last_pause, self._settings.first_pause * 2 ** min(self._failures, 20))
        if denied:
            pause = max(pause, min(self._settings.denied_pause, self._settings.last_pause))
        self._failures += 1
        self.inbox.after(pause * random.uniform(0.75, 1.25), Redial(number=self._attempt))
        self._fell(reason, denied)

    def _leave(self, reason: str) -> None:
        """Close it; what was timed for it counts no more."""
        self._attempt += 1
        self._hang_up()
        self._session.lost()
        self._calls.lose(f"the server is not connected ({reason}): try again when it is back")

    def _overdue(self, number: int) -> None:
        if number == self._attempt and self._socket is not None and not self.up:
            why = f"no answer within {self._settings.patience:g} s: is the address right, and open to this machine?"
            self._failed(why, denied=False)

    # --- receiving ---

    def _read(self) -> None:
        """Take what waits. Of several Syncs only the last counts: it was said later, and says all."""
        newest: Sync | None = None
        socket = self._socket
        for _ in range(AT_ONCE):
            # What was heard may have ended the connection.
            parts = socket.receive() if socket is not None and socket is self._socket else None
            if parts is None:
                break
            frame = self._hear(parts)
            if isinstance(frame, Sync):
                newest = frame
        else:
            self.inbox.after(SOON, ReadOn())
        if newest is not None:
            self._synced(newest)

    def _hear(self, parts: list[bytes]) -> wire.Downward | None:
        try:
            frame = self._session.receive(parts[0] if len(parts) == 1 else b"")
        except PeerMisbehaved as error:
            log.warning("the server said what is not heeded (%s): %s", error.cause, error)
            if error.answer is not None:
                self._fell(str(error), refused=False)
                self._send(wire.pack(error.answer))
            return None
        match frame:
            case wire.Greeted():
                self._failures = 0
                self._stands(frame)
            case wire.Declined():
                self._failed(frame.detail, denied=True)
            case codec.Answer():
                self._calls.answered(SERVER, frame)
            case codec.Call():
                self._called(frame)
        return frame

    # --- sending ---

    def _send(self, data: bytes) -> bool:
        return self._socket is not None and self._socket.send(data)

    def _say(self, said: Heartbeat) -> bool:
        """False when it could not be sent now."""
        if not self.up:
            return False
        self._session.send()
        return self._send(wire.pack(said))

    # --- calls ---

    def _ask(self, call: CallPeer, reply: Reply | None) -> Any:
        if reply is None:
            return self._tell(TellPeer(to=call.to, message=call.message))
        self._require_up()
        number, frame = self._calls.ask(SERVER, call.to, call.message, call.timeout, reply, wire.MAX_FRAME)
        self.inbox.after(call.timeout, CallExpired(number=number))
        if not self._send(frame):
            self._calls.failed(number, Unavailable("the server takes no calls now: try again shortly"))
        return LATER

    def _tell(self, call: TellPeer) -> None:
        try:
            self._require_up()
            self._send(self._calls.tell(call.to, call.message, wire.MAX_FRAME))
        except GpuyardError as error:
            log.warning("%s to %s of the server was not sent: %s", type(call.message).__name__, call.to, error.detail)

    def _require_up(self) -> None:
        if not self.up:
            raise Unavailable("the server is not connected: try again when it is back")
        self._session.send()

    def _called(self, call: codec.Call) -> None:
        """The server asks one of ours."""
        try:
            message = codec.message_of(call, self.theirs)
        except GpuyardError as error:
            if call.id:
                self._send(codec.pack_error(call.id, error, wire.MAX_FRAME))
            return
        ref = self.context.ref(call.to)
        if call.id == 0:
            ref.tell(message)
            return
        # Answers of an earlier connection are nobody's any more.
        connection = str(self._attempt).encode()
        ref.ask(message).add_done_callback(partial(self._tray.put, connection, call.id))

    def _send_answers(self) -> None:
        now = str(self._attempt).encode()
        for connection, frame in self._tray.take(wire.MAX_FRAME):
            if self.up and connection == now:
                self._send(frame)
