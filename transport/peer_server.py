"""What both sockets that workers connect to have in common: CURVE, the doorkeeper, sessions, calls in both directions.

The actor owns its sockets inside its inbox, without a second thread. Their descriptors are edge-triggered: everything
readable is read after every wake *and* after every send. Nothing a peer does ends the actor: it is counted (`Tally`)
and ignored. Who a peer is, is its key alone (the ZAP User-Id of each message), never the routing id that it chose.

What stays out of reach of a check here: libzmq collects all parts of a message before it hands out the first, so an
*allowed* key can make it hold more than `MAX_FRAME` by sending parts without end.
"""

from __future__ import annotations

import logging
import struct
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

import zmq

from gpuyard.actors.base import LATER, Actor, Context, Reply
from gpuyard.actors.inbox import FdReady
from gpuyard.actors.model.commands import AllowKeys, CallPeer, GetGatewayStats, Ready, TellPeer
from gpuyard.actors.model.errors import Busy, GpuyardError, InvalidInput, Unavailable
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.views import GatewayStats
from gpuyard.actors.model.wire import Heartbeat
from gpuyard.transport import codec, wire_codec as wire
from gpuyard.transport.calls import Table
from gpuyard.transport.calls_open import AnswersReady, AnswerTray, CallsOut
from gpuyard.transport.causes import Cause, Tally
from gpuyard.transport.endpoint import Endpoint
from gpuyard.transport.keys import KeyPair
from gpuyard.transport.session import Allowance, PeerMisbehaved, ServerSession
from gpuyard.transport.zap import DOMAIN, Doorkeeper

log = logging.getLogger("gpuyard.transport")

# Frames that may wait for one peer, and parts that are read before other messages get their turn.
HIGH_WATER: Final = 1_000
AT_ONCE: Final = 256
SOON: Final = 0.001
HANDSHAKE_MS: Final = 5_000
LINGER_MS: Final = 200
BACKLOG: Final = 1_024
# Connections that one key may have: the newest count.
SESSIONS_PER_KEY: Final = 8
CALLS_PER_PEER: Final = 32
_EVENT = struct.Struct("=HI")


class ReadOn(Message, frozen=True, kw_only=True):
    """More frames may wait in the socket. From: the actor itself. Repeat: harmless."""


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
        self._sessions: dict[bytes, ServerSession] = {}
        self._routes: dict[str, deque[bytes]] = {}
        # Who is reached by which connection: the newest that greeted.
        self._reached_by: dict[str, bytes] = {}
        self._calls = CallsOut(self.ours)
        self._received = self._sent = 0
        # Where the reader stands inside a message.
        self._route: bytes | None = None
        self._skipping = False

    # --- life ---

    def started(self) -> None:
        self._tray = AnswerTray(self.actor_ref)
        self._zmq: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        self._door: Doorkeeper | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        try:
            # Before the socket listens: nobody is let in unasked.
            self._door = Doorkeeper(self._zmq, self._tally)
            self._socket = self._listen()
            self._fds = [fd for fd in (self._door.fd, _fd(self._socket), _fd(self._monitor)) if fd >= 0]
            for fd in self._fds:
                self.inbox.watch(fd)
        except BaseException:
            self._close()
            raise
        self._opened()
        self._look()
        self._read()

    def _listen(self) -> zmq.Socket[bytes]:
        """The bound socket. Raises InvalidInput when the address can't be had."""
        bind, ping = self._address(), int(self._settings.ping_seconds * 1000)
        self._socket = socket = self._zmq.socket(zmq.ROUTER)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._settings.keys.secret.encode())
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_FRAME)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.HEARTBEAT_IVL, ping)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 2 * ping)
        socket.setsockopt(zmq.HEARTBEAT_TTL, 3 * ping)
        socket.setsockopt(zmq.BACKLOG, BACKLOG)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.IPV6, int(bind.ipv6))
        self._monitor = socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_DISCONNECTED
        )
        try:
            socket.bind(str(bind))
        except zmq.ZMQError as error:
            raise InvalidInput(f"workers can't be listened for on {bind}: {error}; take another --zmq-bind") from None
        self.port = Endpoint.parse(socket.getsockopt_string(zmq.LAST_ENDPOINT)).port
        return socket

    def stopped(self) -> None:
        for fd in self._fds:
            self.inbox.unwatch(fd)
        self._close()
        self._calls.lose("the server is stopping: try again shortly")

    def _close(self) -> None:
        if self._socket is not None:
            if self._monitor is not None:
                self._socket.disable_monitor()
                self._monitor.close(linger=0)
            self._socket.close()
        if self._door is not None:
            self._door.close()
        self._zmq.term()

    # --- what a subclass adds ---

    def _address(self) -> Endpoint:
        """Where to listen."""
        raise NotImplementedError

    def _opened(self) -> None:
        """The socket listens; nobody is allowed yet."""

    def _beats(self, route: bytes, session: ServerSession, said: Heartbeat, address: str) -> None:
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
            case AllowKeys(keys=keys):
                return self._allow(keys)
            case GetGatewayStats():
                return self._stats()
            case Ready():
                return True
            case _:
                return self.unsupported(message)

    def _look(self) -> None:
        """Who knocks, and who failed to; a bounded number of each."""
        assert self._door is not None and self._monitor is not None
        more = self._door.serve(AT_ONCE)
        for _ in range(AT_ONCE):
            try:
                number, _ = _EVENT.unpack(self._monitor.recv_multipart(zmq.NOBLOCK)[0])
            except zmq.Again:
                break
            self._tally.add(Cause.ENDED if number == zmq.EVENT_DISCONNECTED else Cause.HANDSHAKE)
        else:
            more = True
        if more:
            self.inbox.after(SOON, ReadOn())
        self._send_answers()

    def _stats(self) -> GatewayStats:
        assert self._door is not None
        return GatewayStats(
            endpoint=str(self._advertised()),
            sessions=sum(session.may_send() for session in self._sessions.values()),
            allowed_keys=len(self._door.keys),
            received=self._received,
            sent=self._sent,
            refused=self._tally.view(),
        )

    def _advertised(self) -> Endpoint:
        return self._settings.advertise or self._settings.bind.at(self.port).reachable()

    # --- who may be here ---

    def _allow(self, keys: dict[str, str]) -> None:
        """The allow-list from now on; live connections of a key that has left it are cut at once."""
        assert self._door is not None
        self._door.keys = dict(keys)
        for route, session in list(self._sessions.items()):
            user_id = keys.get(session.key)
            if user_id is None:
                self._cut(route, session)
            elif user_id != session.user_id:
                session.user_id = user_id

    def _cut(self, route: bytes, session: ServerSession) -> None:
        if session.may_send():
            self._send(route, wire.pack(wire.Declined(code=Cause.REVOKED, detail="this key is not valid any more")))
        session.cut()
        self._unreachable(route, session)

    def _admit(self, route: bytes, key: str, user_id: str) -> ServerSession:
        """A session for a connection that says its first word. The routing id proves nothing: the key is new, or the
        id was another key's before."""
        settings = self._settings
        allowance = Allowance(settings.frames_per_second, settings.burst)
        session = ServerSession(key, user_id, self.purpose, allowance)
        before = self._sessions.get(route)
        if before is not None:
            self._forget(route, before)
        self._sessions[route] = session
        routes = self._routes.setdefault(key, deque())
        routes.append(route)
        if len(routes) > SESSIONS_PER_KEY:
            self._forget(routes[0], self._sessions[routes[0]])
        return session

    def _forget(self, route: bytes, session: ServerSession) -> None:
        del self._sessions[route]
        routes = self._routes[session.key]
        routes.remove(route)
        if not routes:
            del self._routes[session.key]
        self._unreachable(route, session)

    def _unreachable(self, route: bytes, session: ServerSession) -> None:
        if self._reached_by.get(session.user_id) == route:
            del self._reached_by[session.user_id]
        self._calls.lose(f"{session.user_id} is not connected any more: try again shortly", route)

    # --- receiving ---

    def _read(self) -> None:
        """Take what waits, a bounded number of parts."""
        socket = self._socket
        assert socket is not None
        if not int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            return
        for _ in range(AT_ONCE):
            try:
                part = socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._take(part)
        self.inbox.after(SOON, ReadOn())

    def _take(self, part: zmq.Frame) -> None:
        """One part: a message is a routing id and exactly one more."""
        if self._skipping:
            self._skipping = part.more
        elif self._route is None:
            self._route = part.bytes
            if not part.more:
                self._route = None
                self._tally.add(Cause.PARTS)
        else:
            route, self._route = self._route, None
            if part.more:
                self._skipping = True
                self._tally.add(Cause.PARTS)
            else:
                self._received += 1
                self._hear(route, part)

    def _hear(self, route: bytes, part: zmq.Frame) -> None:
        assert self._door is not None
        key = _property(part, "User-Id")
        user_id = self._door.keys.get(key)
        if user_id is None:
            self._tally.add(Cause.REVOKED)
            return
        session = self._sessions.get(route)
        if session is None or session.key != key:
            session = self._admit(route, key, user_id)
        try:
            frame = session.receive(part.bytes, self.clock.monotonic())
        except PeerMisbehaved as error:
            self._misbehaved(route, user_id, error)
            return
        match frame:
            case Heartbeat():
                self._beats(route, session, frame, _property(part, "Peer-Address"))
            case wire.Greet():
                self._reached_by[user_id] = route
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
        assert self._socket is not None
        try:
            self._socket.send(route, zmq.NOBLOCK | zmq.SNDMORE)
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            self._tally.add(Cause.SLOW)
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._tally.add(Cause.MISROUTED)
            if (session := self._sessions.get(route)) is not None:
                self._forget(route, session)
            return False
        self._sent += 1
        return True

    # --- calls ---

    def _ask(self, call: CallPeer, reply: Reply | None) -> Any:
        if reply is None:
            return self._tell(TellPeer(user_id=call.user_id, to=call.to, message=call.message))
        route = self._route_to(call.user_id)
        number, frame = self._calls.ask(route, call.to, call.message, call.timeout, reply, wire.MAX_FRAME)
        self.inbox.after(call.timeout, CallExpired(number=number))
        if not self._send(route, frame):
            self._calls.failed(number, Unavailable(f"worker {call.user_id} takes no calls now: try again shortly"))
        return LATER

    def _tell(self, call: TellPeer) -> None:
        self._send(self._route_to(call.user_id), self._calls.tell(call.to, call.message, wire.MAX_FRAME))

    def _route_to(self, user_id: str) -> bytes:
        """Raises Unavailable."""
        route = self._reached_by.get(user_id)
        if route is None or not self._sessions[route].may_send():
            raise Unavailable(f"worker {user_id} is not connected: try again when it is back")
        return route

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


def _property(part: zmq.Frame, name: str) -> str:
    """What libzmq knows of the connection a part came by; "" when it does not."""
    try:
        return str(part.get(name))
    except zmq.ZMQError:
        return ""


def _fd(socket: zmq.Socket[bytes] | None) -> int:
    return -1 if socket is None else int(socket.getsockopt(zmq.FD))
