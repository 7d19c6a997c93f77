"""What both sockets that workers connect to have in common: the allow-list, sessions, calls in both directions.

The actor owns its sockets inside its inbox, without a second thread. Their descriptors are edge-triggered: everything
readable is read after every wake *and* after every send. Nothing a peer does ends the actor: it is counted (`Tally`)
and ignored. Who a peer is, is its key alone (the ZAP User-Id of each message), never the routing id that it chose.

What stays out of reach of a check here: libzmq collects all parts of a message before it hands out the first, so an
*allowed* key can make it hold more than `MAX_FRAME` by sending parts without end; and it takes every TCP connection, so
who may open them at all (each has 5 s for its handshake) is a firewall's to say.
"""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

import msgspec
import zmq

from gpuyard.actors.base import LATER, Actor, Context, Reply
from gpuyard.actors.inbox import FdReady
from gpuyard.actors.model.commands import AllowKeys, CallPeer, FetchSecrets, GetGatewayStats, Ready, TellPeer
from gpuyard.actors.model.errors import Busy, GpuyardError, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import GatewayStats
from gpuyard.actors.model.wire import Heartbeat
from gpuyard.transport import codec, wire_codec as wire
from gpuyard.transport.calls import Table
from gpuyard.transport.calls_open import AnswersReady, AnswerTray, CallsOut
from gpuyard.transport.causes import Cause, Tally
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.server_socket import Sent, ServerSocket, property_of
from gpuyard.transport.session import Allowance, PeerMisbehaved, ServerSession
from gpuyard.transport.session_table import SessionTable

log = logging.getLogger("gpuyard.transport")

# What is read before other messages get their turn.
AT_ONCE: Final = 256
SOON: Final = 0.001
# From so many frames a second on, those that come within PACE seconds are read together: it halves what they cost.
MANY: Final = 300
PACE: Final = 0.005
RATE_WINDOW: Final = 0.05
CALLS_PER_PEER: Final = 32


class ReadOn(Message, frozen=True, kw_only=True):
    """More may wait in the socket. From: the actor itself. Repeat: harmless."""


class CallExpired(Message, frozen=True, kw_only=True):
    """The deadline of call `number` has come. From: the actor's own timer. Repeat: harmless."""

    number: int


@dataclass(frozen=True)
class PeerServerSettings:
    """`bind` is where the gateway listens; the bulk socket takes the port after it (a free one when that is 0).

    `advertise` is what workers connect to (None: derived from `bind`). A peer that says nothing for three times
    `ping_seconds` is disconnected. A peer may send `frames_per_second`, and `burst` at once.
    """

    bind: Endpoint
    keys: KeyPair
    advertise: Endpoint | None = None
    ping_seconds: float = 5.0
    frames_per_second: float = 1_000.0
    burst: float = 4_000.0
    version: str = field(default="", compare=False)


class PeerServer(Actor):
    """Subclasses say what their socket is for, and handle what only they know."""

    purpose: ClassVar[str]
    # What may be asked of a worker's actors here, and what a worker may ask of ours.
    ours: ClassVar[Table]
    theirs: ClassVar[Table]

    def __init__(self, context: Context, settings: PeerServerSettings) -> None:
        super().__init__(context)
        self._settings = settings
        self._tally = Tally()
        self._keys: dict[str, str] = {}
        self._sessions = SessionTable()
        self._calls = CallsOut(self.ours)
        self._received = self._sent = 0
        # Does the reader stand inside a message that has too many parts?
        self._skipping = False
        # Is reading put off? Do many frames come, and how many had come at what time?
        self._paced = self._many = False
        self._counted = 0.0, 0

    # --- life ---

    def started(self) -> None:
        settings = self._settings
        self._tray = AnswerTray(self.actor_ref)
        self._socket = ServerSocket(self._address(), settings.keys, settings.ping_seconds, self._tally)
        try:
            for fd in self._socket.fds:
                self.inbox.watch(fd)
            self._opened()
            self._look()
            self._read()
        except BaseException:
            self._socket.close()
            raise

    def stopped(self) -> None:
        for fd in self._socket.fds:
            if not (self._paced and fd == self._socket.fd):
                self.inbox.unwatch(fd)
        self._socket.close()
        self._calls.lose("the server is stopping: try again shortly")

    # --- what a subclass adds ---

    @abstractmethod
    def _address(self) -> Endpoint:
        """Where to listen."""

    def _opened(self) -> None:
        """The socket listens; nobody is allowed yet."""

    def _beats(self, route: bytes, session: ServerSession, said: Heartbeat) -> None:
        """A heartbeat came."""

    def _greeting(self, session: ServerSession) -> wire.Greeted:
        return wire.Greeted(protocol=session.protocol, user_id=session.user_id, version=self._settings.version)

    # --- messages ---

    def handle(self, message: Message, reply: Reply | None) -> Any:
        try:
            return self._handle(message, reply)
        finally:
            # Whatever was sent may have eaten the wake for what can be read.
            self._read()

    def _handle(self, message: Message, reply: Reply | None) -> Any:
        match message:
            case FdReady(fd=fd):
                return self._look() if fd != self._socket.fd else self._readable()
            case ReadOn():
                return self._read_on()
            case AnswersReady():
                return self._send_answers()
            case CallPeer():
                return self._ask(message, reply)
            case TellPeer():
                return self._tell(message)
            case CallExpired(number=number):
                return self._calls.expire(number)
            case AllowKeys(keys=keys):
                return self._allow(keys)
            case GetGatewayStats():
                return self._stats()
            case Ready():
                return True
            case _:
                return self.unsupported(message)

    def _look(self) -> None:
        """Who knocks, and who failed to."""
        if self._socket.look(AT_ONCE):
            self.inbox.after(SOON, ReadOn())
        self._send_answers()

    def _stats(self) -> GatewayStats:
        return GatewayStats(
            endpoint=str(self._advertised()),
            sessions=self._sessions.open(),
            allowed_keys=len(self._keys),
            received=self._received,
            sent=self._sent,
            refused=self._tally.view(),
        )

    def _advertised(self) -> Endpoint:
        return self._settings.advertise or self._settings.bind.at(self._socket.port).reachable()

    # --- who may be here ---

    def _allow(self, keys: dict[str, str]) -> None:
        """The allow-list from now on; live connections of a key that has left it are cut at once."""
        self._keys = self._socket.door.keys = dict(keys)
        for route, session in self._sessions:
            user_id = keys.get(session.key)
            if user_id is None:
                self._cut(route, session)
            elif user_id != session.user_id:
                self._sessions.leave(route, session)
                session.user_id = user_id

    def _cut(self, route: bytes, session: ServerSession) -> None:
        if session.may_send():
            self._send(route, wire.pack(wire.Declined(code=Cause.REVOKED, detail="this key is not valid any more")))
        session.cut()
        self._sessions.leave(route, session)
        self._lose_calls(route)

    def _session(self, route: bytes, key: str, user_id: str, part: zmq.Frame) -> ServerSession:
        """Of this connection; a new one when it says its first word."""
        session = self._sessions.get(route)
        if session is None or session.key != key:
            allowance = Allowance(self._settings.frames_per_second, self._settings.burst)
            session = ServerSession(key, user_id, self.purpose, allowance)
            session.address = property_of(part, "Peer-Address")
            for lost in self._sessions.add(route, session):
                self._lose_calls(lost)
        return session

    def _lose_calls(self, route: bytes) -> None:
        self._calls.lose("the worker is not connected any more: try again when it is back", route)

    # --- receiving ---

    def _readable(self) -> None:
        """Read now; but while many frames come, wait a moment first: what comes meanwhile shares one wake, here and at
        the registry. Where few come, none is ever kept waiting."""
        if self._many_come() and not self._paced:
            self._paced = True
            self.inbox.unwatch(self._socket.fd)
            self.inbox.after(PACE, ReadOn())
        self._send_answers()

    def _many_come(self) -> bool:
        """As of the last complete `RATE_WINDOW`."""
        now, (since, count) = time.monotonic(), self._counted
        if now - since >= RATE_WINDOW:
            self._many = (self._received - count) / (now - since) >= MANY
            self._counted = now, self._received
        return self._many

    def _read_on(self) -> None:
        if self._paced:
            self._paced = False
            self.inbox.watch(self._socket.fd)
        self._look()

    def _read(self) -> None:
        """Take what waits, a bounded number of parts."""
        budget = 0 if self._paced else AT_ONCE
        while budget > 0 and self._socket.waits():
            budget -= self._skip(budget) if self._skipping else self._take()
        if budget <= 0 and not self._paced:
            self.inbox.after(SOON, ReadOn())

    def _take(self) -> int:
        """One message: the routing id, which ROUTER puts in front, and exactly one part. How many parts were read."""
        route, part = self._socket.receive()
        self._skipping = part.more
        if part.more:
            self._tally.add(Cause.PARTS)
        else:
            self._received += 1
            self._hear(route, part)
        return 2

    def _skip(self, most: int) -> int:
        """The other parts of a message that has too many. How many were read."""
        for count in range(1, most + 1):
            if not self._socket.skip():
                self._skipping = False
                return count
        return most

    def _hear(self, route: bytes, part: zmq.Frame) -> None:
        key = property_of(part, "User-Id")
        user_id = self._keys.get(key)
        if user_id is None:
            self._tally.add(Cause.REVOKED)
            return
        session = self._session(route, key, user_id, part)
        try:
            frame = session.receive(part.bytes, self.clock.monotonic())
        except PeerMisbehaved as error:
            self._misbehaved(route, user_id, error)
            return
        match frame:
            case Heartbeat():
                self._beats(route, session, frame)
            case wire.Greet():
                self._sessions.prefer(user_id, route)
                self._send(route, wire.pack(self._greeting(session)))
            case codec.Answer():
                if not self._calls.answered(route, frame):
                    self._tally.add(Cause.NOT_ASKED)
            case codec.Call():
                self._called(route, session, frame)

    def _misbehaved(self, route: bytes, user_id: str, error: PeerMisbehaved) -> None:
        self._tally.add(error.cause)
        log.debug("a frame of worker %s is not heeded (%s): %s", user_id, error.cause, error)
        if error.answer is not None:
            self._send(route, wire.pack(error.answer))

    # --- sending ---

    def _send(self, route: bytes, data: bytes) -> bool:
        """False when the peer is gone, or does not take it."""
        match self._socket.send(route, data):
            case Sent.YES:
                self._sent += 1
                return True
            case Sent.SLOW:
                self._tally.add(Cause.SLOW)
            case Sent.GONE:
                self._tally.add(Cause.MISROUTED)
                if self._sessions.forget(route):
                    self._lose_calls(route)
        return False

    # --- calls ---

    def _ask(self, call: CallPeer, reply: Reply | None) -> Any:
        if reply is None:
            return self._tell(TellPeer(user_id=call.user_id, to=call.to, message=call.message))
        route = self._sessions.reach(call.user_id)
        number, frame = self._calls.ask(route, call.to, call.message, call.timeout, reply, wire.MAX_FRAME)
        self.inbox.after(call.timeout, CallExpired(number=number))
        if not self._send(route, frame):
            self._calls.failed(number, Unavailable(f"worker {call.user_id} takes no calls now: try again shortly"))
        return LATER

    def _tell(self, call: TellPeer) -> None:
        try:
            self._send(self._sessions.reach(call.user_id), self._calls.tell(call.to, call.message, wire.MAX_FRAME))
        except GpuyardError as error:
            what = type(call.message).__name__
            log.warning("%s to %s of worker %s was not sent: %s", what, call.to, call.user_id, error.detail)

    def _called(self, route: bytes, session: ServerSession, call: codec.Call) -> None:
        """A worker asks one of ours."""
        try:
            message = codec.message_of(call, self.theirs)
            if session.open_calls >= CALLS_PER_PEER:
                self._tally.add(Cause.TOO_MANY_CALLS)
                raise Busy(f"{CALLS_PER_PEER} calls are open: wait for their answers")
        except GpuyardError as error:
            if not isinstance(error, Busy):
                self._tally.add(Cause.NOT_ALLOWED)
            if call.id:
                self._send(route, codec.pack_error(call.id, error, wire.MAX_FRAME))
            return
        if isinstance(message, FetchSecrets):
            # Who asks is who its key says, whatever the message says.
            message = msgspec.structs.replace(message, worker=session.user_id)
        ref = self.context.ref(call.to)
        if call.id == 0:
            ref.tell(message)
            return
        session.open_calls += 1
        ref.ask(message).add_done_callback(partial(self._tray.put, route, call.id))

    def _send_answers(self) -> None:
        for route, frame in self._tray.take(wire.MAX_FRAME):
            session = self._sessions.get(route)
            if session is None:
                continue
            session.open_calls = max(0, session.open_calls - 1)
            if session.may_send():
                self._send(route, frame)
