"""Which connection reaches a worker: the one that was preferred last, under whichever of its keys it was made."""

from __future__ import annotations

import pytest

from gpuyard.actors.model.errors import Unavailable
from gpuyard.actors.model.wire import PROTOCOL
from gpuyard.transport import wire_codec as wire
from gpuyard.transport.session import Allowance, ServerSession
from gpuyard.transport.session_table import SessionTable


def open_session(table: SessionTable, route: bytes, user_id: str) -> ServerSession:
    session = ServerSession(f"key of {user_id}", user_id, wire.CONTROL, Allowance(100, 100))
    session.receive(wire.pack(wire.Greet(protocol=PROTOCOL, oldest=wire.OLDEST, purpose=wire.CONTROL)), 0.0)
    table.add(route, session)
    table.prefer(user_id, route)
    return session


def test_a_worker_is_reached_by_its_id_whatever_key_it_has() -> None:
    table = SessionTable()
    old = open_session(table, b"r1", "w-1.1")
    assert table.reach("w-1") == table.reach("w-1.1") == b"r1"
    open_session(table, b"r2", "w-1.2")
    assert table.reach("w-1") == b"r2"
    table.leave(b"r1", old)
    assert table.reach("w-1") == b"r2"


def test_one_that_is_not_connected_is_told_by_its_id() -> None:
    table = SessionTable()
    open_session(table, b"r1", "w-1.1")
    with pytest.raises(Unavailable, match="worker w-10 is not connected"):
        table.reach("w-10")
    table.forget(b"r1")
    with pytest.raises(Unavailable):
        table.reach("w-1")
