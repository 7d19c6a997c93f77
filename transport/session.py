"""One session between a worker and the server, each side as a pure state machine: no socket, no clock.

The rules:

1. A session is one connection. It begins when the connection's own handshake (CURVE, ZAP) is done, and ends with it.
2. The worker greets first; nothing that it says before is heeded. The greeting agrees on a version.
3. Greeting again is harmless at any time: the server may have forgotten a session, the worker can't know.
4. Once cut (its key left the allow-list) a session is dead for good, however long the connection lives.
5. What a peer does wrong raises PeerMisbehaved: it is counted and ignored, and never ends anything of ours. What we
   do wrong raises SessionMisused: that is a bug.

Server, one session a connection          Worker
NEW       authenticated, not greeted       DOWN      no connection
OPEN      a version is agreed              GREETING  connected, Greet is sent
DECLINED  no version in common             UP        a version is agreed
CUT       the key is not allowed any more  DECLINED  the server heeds us not; only a new connection helps
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from gpuyard.actors.model.wire import PROTOCOL, Heartbeat
from gpuyard.transport import wire_codec as wire
from gpuyard.transport.causes import Cause
from gpuyard.transport.codec import BadFrame

Answered = wire.Greet | wire.Declined | None


class PeerMisbehaved(Exception):
    """The peer did what it may not: count `cause`, ignore the frame, send `answer` when there is one."""

    def __init__(self, cause: Cause, detail: str, answer: Answered = None) -> None:
        super().__init__(detail)
        self.cause = cause
        self.answer = answer


class SessionMisused(Exception):
    """We asked the session for what it can't do in its state: a bug of ours."""


class State(StrEnum):
    NEW = "new"
    OPEN = "open"
    DECLINED = "declined"
    CUT = "cut"
    DOWN = "down"
    GREETING = "greeting"
    UP = "up"


class Event(StrEnum):
    # Of the peer.
    GREETS = "greets"
    GREETS_IN_VAIN = "greets_in_vain"
    SAYS = "says"
    GREETS_BACK = "greets_back"
    DECLINES = "declines"
    FORGOT_US = "forgot_us"
    # Of our side.
    CONNECTED = "connected"
    LOST = "lost"
    SEND = "send"
    CUT_OFF = "cut_off"


S, E = State, Event

SERVER: Final[dict[tuple[State, Event], State]] = {
    (S.NEW, E.GREETS): S.OPEN,
    (S.NEW, E.GREETS_IN_VAIN): S.DECLINED,
    (S.OPEN, E.GREETS): S.OPEN,
    (S.OPEN, E.GREETS_IN_VAIN): S.DECLINED,
    (S.OPEN, E.SAYS): S.OPEN,
    (S.OPEN, E.SEND): S.OPEN,
    (S.DECLINED, E.GREETS): S.OPEN,
    (S.DECLINED, E.GREETS_IN_VAIN): S.DECLINED,
    **{(state, E.CUT_OFF): S.CUT for state in (S.NEW, S.OPEN, S.DECLINED, S.CUT)},
}
WORKER: Final[dict[tuple[State, Event], State]] = {
    (S.DOWN, E.CONNECTED): S.GREETING,
    (S.GREETING, E.GREETS_BACK): S.UP,
    (S.GREETING, E.DECLINES): S.DECLINED,
    (S.GREETING, E.FORGOT_US): S.GREETING,
    (S.UP, E.GREETS_BACK): S.UP,
    (S.UP, E.SAYS): S.UP,
    (S.UP, E.SEND): S.UP,
    (S.UP, E.DECLINES): S.DECLINED,
    (S.UP, E.FORGOT_US): S.GREETING,
    (S.DECLINED, E.DECLINES): S.DECLINED,
    **{(state, E.LOST): S.DOWN for state in (S.DOWN, S.GREETING, S.UP, S.DECLINED)},
}
OURS: Final = frozenset({E.CONNECTED, E.LOST, E.SEND, E.CUT_OFF})


class _Machine:
    """A state that only its table changes."""

    def __init__(self, table: dict[tuple[State, Event], State], state: State) -> None:
        self._table = table
        self.state = state

    def step(self, event: Event, cause: Cause = Cause.NOT_GREETED, answer: Answered = None) -> None:
        after = self._table.get((self.state, event))
        if after is not None:
            self.state = after
        elif event in OURS:
            raise SessionMisused(f"a session that is {self.state} can't {event}")
        else:
            raise PeerMisbehaved(cause, f"a peer whose session is {self.state} {event}", answer)


class Allowance:
    """So many frames a second, and `burst` at once: a bucket that fills with the time it is told."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left = burst
        self._at: float | None = None

    def take(self, now: float) -> bool:
        if self._at is not None:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class ServerSession(_Machine):
    """The server's side of one connection. `key` is the public key it was made with, `user_id` whose that is."""

    def __init__(self, key: str, user_id: str, purpose: str, allowance: Allowance) -> None:
        super().__init__(SERVER, State.NEW)
        self.key = key
        self.user_id = user_id
        self.address = ""
        self.protocol = 0
        self.open_calls = 0
        self._purpose = purpose
        self._allowance = allowance
        self._beat: tuple[str, int] | None = None

    def receive(self, data: bytes | memoryview, now: float) -> wire.Upward:
        """What the peer says now. Raises PeerMisbehaved."""
        if self.state is State.CUT:
            raise PeerMisbehaved(Cause.REVOKED, "its key was revoked")
        if not self._allowance.take(now):
            raise PeerMisbehaved(Cause.FLOOD, "too many frames")
        try:
            frame = wire.unpack_upward(data)
        except wire.Unknown as error:
            answer = wire.Declined(code=Cause.UNSUPPORTED, detail=str(error))
            raise PeerMisbehaved(Cause.UNSUPPORTED, str(error), answer) from None
        except BadFrame as error:
            raise PeerMisbehaved(Cause.BAD_FRAME, str(error)) from None
        if isinstance(frame, wire.Greet):
            self._greeted(frame)
        else:
            answer = wire.Declined(code=Cause.NOT_GREETED, detail="greet first")
            self.step(Event.SAYS, Cause.NOT_GREETED, answer)
            if isinstance(frame, Heartbeat):
                self._beats(frame)
        return frame

    def _greeted(self, greet: wire.Greet) -> None:
        if greet.purpose != self._purpose:
            detail = f"this is the {self._purpose} socket, not {greet.purpose[:40]}"
            raise PeerMisbehaved(Cause.UNSUPPORTED, detail, wire.Declined(code=Cause.UNSUPPORTED, detail=detail))
        version = wire.agree(greet)
        if version is None:
            self.step(Event.GREETS_IN_VAIN)
            detail = (
                f"the server speaks versions {wire.OLDEST} to {PROTOCOL}, the worker {greet.oldest} to "
                f"{greet.protocol}: bring the older one up to date"
            )
            raise PeerMisbehaved(Cause.VERSION, detail, wire.Declined(code=Cause.VERSION, detail=detail))
        self.step(Event.GREETS)
        self.protocol = version

    def _beats(self, said: Heartbeat) -> None:
        """Within a connection nothing is repeated or reordered: an older beat is a replay."""
        if self._purpose != wire.CONTROL:
            raise PeerMisbehaved(Cause.UNSUPPORTED, "a heartbeat on another socket than control")
        if self._beat is not None and self._beat[0] == said.session and said.n <= self._beat[1]:
            raise PeerMisbehaved(Cause.REPLAYED, f"heartbeat {said.n} after {self._beat[1]}")
        self._beat = (said.session, said.n)

    def cut(self) -> None:
        """Its key is not allowed any more."""
        self.step(Event.CUT_OFF)

    def may_send(self) -> bool:
        return self.state is State.OPEN

    def send(self) -> None:
        """Note that something is sent. Raises SessionMisused when nothing may be."""
        self.step(Event.SEND)


class WorkerSession(_Machine):
    """The worker's side of its connection, and of the next ones."""

    def __init__(self, purpose: str, version: str = "") -> None:
        super().__init__(WORKER, State.DOWN)
        self.greet: Final = wire.Greet(protocol=PROTOCOL, oldest=wire.OLDEST, purpose=purpose, version=version)
        self.greeted: wire.Greeted | None = None
        self.declined: wire.Declined | None = None

    def connected(self) -> wire.Greet:
        """The connection stands: send this."""
        self.step(Event.CONNECTED)
        return self.greet

    def lost(self) -> None:
        self.step(Event.LOST)
        self.greeted = self.declined = None

    def send(self) -> None:
        """Note that something is sent. Raises SessionMisused when nothing may be."""
        self.step(Event.SEND)

    def receive(self, data: bytes | memoryview) -> wire.Downward:
        """What the server says now. Raises PeerMisbehaved; with `answer` set: send that."""
        try:
            frame = wire.unpack_downward(data)
        except wire.Unknown as error:
            raise PeerMisbehaved(Cause.UNSUPPORTED, str(error)) from None
        except BadFrame as error:
            raise PeerMisbehaved(Cause.BAD_FRAME, str(error)) from None
        match frame:
            case wire.Greeted():
                self._greeted(frame)
            case wire.Declined():
                self._declined(frame)
            case _:
                self.step(Event.SAYS)
        return frame

    def _greeted(self, frame: wire.Greeted) -> None:
        if not wire.OLDEST <= frame.protocol <= PROTOCOL:
            raise PeerMisbehaved(Cause.VERSION, f"the server chose version {frame.protocol}, which we don't speak")
        self.step(Event.GREETS_BACK)
        self.greeted = frame

    def _declined(self, frame: wire.Declined) -> None:
        if frame.code == Cause.NOT_GREETED:
            self.step(Event.FORGOT_US)
            raise PeerMisbehaved(Cause.NOT_GREETED, "the server has forgotten us", self.greet)
        if frame.code == Cause.UNSUPPORTED and self.state is State.UP:
            raise PeerMisbehaved(Cause.UNSUPPORTED, frame.detail)
        self.step(Event.DECLINES)
        self.declined = frame
