"""The session of a worker and the server: two machines without a socket."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, strategies as st

from gpuyard.actors.model.wire import PROTOCOL, Heartbeat
from gpuyard.transport import session as sessions, wire_codec as wire
from gpuyard.transport.causes import Cause
from gpuyard.transport.codec import Call
from gpuyard.transport.session import (
    OURS,
    SERVER,
    WORKER,
    Allowance,
    Event,
    PeerMisbehaved,
    ServerSession,
    SessionMisused,
    State,
    WorkerSession,
)
from tests.hosts import beat, sync

PING = wire.pack(Call(id=1, to="workers", message=msgspec.Raw(msgspec.msgpack.encode({"type": "Ping"}))))
GREET = wire.pack(wire.Greet(protocol=PROTOCOL, oldest=wire.OLDEST))
TOO_NEW = wire.pack(wire.Greet(protocol=PROTOCOL + 5, oldest=PROTOCOL + 4))
GREETED = wire.pack(wire.Greeted(protocol=PROTOCOL, user_id="w1"))


def server(rate: float = 1e9, burst: float = 1e9) -> ServerSession:
    return ServerSession("KEY", "w1", wire.CONTROL, Allowance(rate, burst))


def opened() -> ServerSession:
    session = server()
    session.receive(GREET, 0.0)
    return session


def worker_up() -> WorkerSession:
    session = WorkerSession(wire.CONTROL)
    session.connected()
    session.receive(GREETED)
    return session


def refused(session: ServerSession | WorkerSession, data: bytes, now: float = 0.0) -> PeerMisbehaved:
    with pytest.raises(PeerMisbehaved) as caught:
        session.receive(data, now) if isinstance(session, ServerSession) else session.receive(data)
    return caught.value


# --- the server's side ---


def test_a_worker_greets_and_is_heard() -> None:
    session = server()
    assert isinstance(session.receive(GREET, 0.0), wire.Greet)
    assert session.state is State.OPEN and session.protocol == PROTOCOL and session.may_send()
    assert session.receive(wire.pack(beat(1)), 0.0) == beat(1)


def test_nothing_is_heeded_before_the_greeting() -> None:
    session = server()
    for said in (wire.pack(beat(1)), PING):
        error = refused(session, said)
        assert error.cause is Cause.NOT_GREETED
        assert isinstance(error.answer, wire.Declined) and error.answer.code == Cause.NOT_GREETED
    assert session.state is State.NEW and not session.may_send()


def test_a_version_that_is_not_spoken_is_declined_in_words_and_a_fitting_one_may_follow() -> None:
    session = server()
    error = refused(session, TOO_NEW)
    assert error.cause is Cause.VERSION and error.answer is not None
    assert isinstance(error.answer, wire.Declined) and "bring the older one up to date" in error.answer.detail
    assert session.state is State.DECLINED
    assert refused(session, wire.pack(beat(1))).cause is Cause.NOT_GREETED
    session.receive(GREET, 0.0)
    assert session.receive(wire.pack(beat(1)), 0.0) == beat(1)


def test_greeting_again_is_harmless() -> None:
    session = opened()
    session.receive(GREET, 0.0)
    assert session.state is State.OPEN


def test_the_wrong_socket_is_declined() -> None:
    error = refused(server(), wire.pack(wire.Greet(protocol=PROTOCOL, oldest=wire.OLDEST, purpose=wire.BULK)))
    assert error.cause is Cause.UNSUPPORTED


def test_a_replayed_heartbeat_is_ignored() -> None:
    session = opened()
    session.receive(wire.pack(beat(5)), 0.0)
    for old in (5, 4, -1):
        assert refused(session, wire.pack(beat(old))).cause is Cause.REPLAYED
    assert session.receive(wire.pack(beat(6)), 0.0) == beat(6)
    assert session.receive(wire.pack(beat(1, "s2")), 0.0) == beat(1, "s2"), "another life of the worker counts anew"


def test_a_heartbeat_belongs_on_the_control_socket() -> None:
    session = ServerSession("KEY", "w1", wire.BULK, Allowance(1e9, 1e9))
    session.receive(wire.pack(wire.Greet(protocol=PROTOCOL, oldest=wire.OLDEST, purpose=wire.BULK)), 0.0)
    assert refused(session, wire.pack(beat(1))).cause is Cause.UNSUPPORTED


def test_a_revoked_key_is_heard_never_again() -> None:
    session = opened()
    session.cut()
    assert not session.may_send()
    for said in (GREET, wire.pack(beat(1)), b"nonsense"):
        assert refused(session, said).cause is Cause.REVOKED
    session.cut()
    with pytest.raises(SessionMisused):
        session.send()


def test_nonsense_and_the_future_are_told_apart() -> None:
    session = opened()
    assert refused(session, b"\x00garbage").cause is Cause.BAD_FRAME
    future = refused(session, msgspec.msgpack.encode({"type": "Teleport"}))
    assert future.cause is Cause.UNSUPPORTED and isinstance(future.answer, wire.Declined)
    assert session.state is State.OPEN, "one bad frame ends nothing"


def test_a_flood_is_ignored_unread_and_passes() -> None:
    session = server(rate=10, burst=3)
    session.receive(GREET, 0.0)
    session.receive(wire.pack(beat(1)), 0.0)
    session.receive(wire.pack(beat(2)), 0.0)
    assert refused(session, wire.pack(beat(3))).cause is Cause.FLOOD
    assert session.receive(wire.pack(beat(3)), 0.1) == beat(3), "what was ignored unread is no replay"


# --- the worker's side ---


def test_the_worker_greets_once_connected_and_speaks_once_greeted() -> None:
    session = WorkerSession(wire.CONTROL, "0.3")
    with pytest.raises(SessionMisused):
        session.send()
    assert session.connected() == wire.Greet(protocol=PROTOCOL, oldest=wire.OLDEST, version="0.3")
    with pytest.raises(SessionMisused):
        session.send()
    session.receive(GREETED)
    session.send()
    assert session.greeted is not None and session.greeted.user_id == "w1"


def test_a_server_that_says_something_before_its_greeting_is_not_heeded() -> None:
    session = WorkerSession(wire.CONTROL)
    session.connected()
    assert refused(session, wire.pack(sync())).cause is Cause.NOT_GREETED


def test_a_server_that_has_forgotten_us_is_greeted_again() -> None:
    session = worker_up()
    error = refused(session, wire.pack(wire.Declined(code=Cause.NOT_GREETED)))
    assert error.answer == session.greet and session.state is State.GREETING
    session.receive(GREETED)
    assert session.state is State.UP


@pytest.mark.parametrize("code", [Cause.VERSION, Cause.REVOKED, "of_the_future"])
def test_once_declined_only_a_new_connection_helps(code: str) -> None:
    session = worker_up()
    session.receive(wire.pack(wire.Declined(code=code, detail="why")))
    assert session.state is State.DECLINED and session.declined is not None and session.declined.detail == "why"
    assert refused(session, wire.pack(sync())).cause is Cause.NOT_GREETED
    session.lost()
    session.connected()
    assert session.state is State.GREETING and session.declined is None


def test_one_frame_that_the_server_does_not_know_ends_nothing() -> None:
    session = worker_up()
    assert refused(session, wire.pack(wire.Declined(code=Cause.UNSUPPORTED))).cause is Cause.UNSUPPORTED
    assert session.state is State.UP


def test_a_server_that_chooses_a_version_that_we_do_not_speak_is_not_heeded() -> None:
    session = WorkerSession(wire.CONTROL)
    session.connected()
    assert refused(session, wire.pack(wire.Greeted(protocol=PROTOCOL + 1))).cause is Cause.VERSION


# --- the tables ---


@pytest.mark.parametrize("table", [SERVER, WORKER])
def test_each_state_is_reached_and_left(table: dict[tuple[State, Event], State]) -> None:
    start = State.NEW if table is SERVER else State.DOWN
    states = {state for state, _ in table} | set(table.values())
    reached, grown = {start}, True
    while grown:
        after = {to for (state, _), to in table.items() if state in reached} | reached
        grown, reached = after != reached, after
    assert reached == states
    if table is WORKER:
        assert all((state, Event.LOST) in table for state in states), "a connection may end at any time"
    else:
        assert all((state, Event.CUT_OFF) in table for state in states), "a key may be revoked at any time"


def test_the_picture_in_the_docstring_names_every_state() -> None:
    for state in State:
        assert state.name in (sessions.__doc__ or ""), state


@given(st.lists(st.sampled_from([GREET, TOO_NEW, PING, b"", b"\xff", wire.pack(beat(1)), wire.pack(beat(2)), "cut"])))
def test_whatever_a_peer_says_the_session_holds_its_rules(said: list[bytes | str]) -> None:
    session, cut = server(), False
    for one in said:
        if isinstance(one, str):
            session.cut()
            cut = True
            continue
        before = session.state
        try:
            heard = session.receive(one, 0.0)
        except PeerMisbehaved:
            assert session.state in (before, State.DECLINED)
        else:
            assert not cut
            assert isinstance(heard, wire.Greet) or before is State.OPEN
            assert not isinstance(heard, Heartbeat) or heard.n in (1, 2)
        assert not cut or session.state is State.CUT


def test_an_unknown_step_of_ours_is_a_bug_and_one_of_theirs_is_not() -> None:
    for event in Event:
        kind = SessionMisused if event in OURS else PeerMisbehaved
        session = server()
        if (State.NEW, event) in SERVER:
            continue
        with pytest.raises(kind):
            session.step(event)
