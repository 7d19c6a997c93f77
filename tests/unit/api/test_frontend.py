"""The Frontend actor: it starts, says when it serves, ends in order, and does not die silently."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gpuyard.actors.base import has_ended, start
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetLimits, GetStats, Ready
from gpuyard.actors.model.errors import GpuyardError, Unsupported
from gpuyard.api import server
from gpuyard.api.core import LocalCore
from gpuyard.api.frontend import Frontend
from gpuyard.api.process import bind
from gpuyard.api.settings import Settings
from tests.answering import Answering, Cast
from tests.frontends import Served, frontend
from tests.support import eventually


def test_it_is_ready_once_it_serves(served: Served, actors: Cast) -> None:
    assert actors.directory.ref(names.FRONTEND).ask(Ready()).result(10) is True
    assert served.ask("GET", "/healthz").status == 200


def test_it_knows_nothing_of_other_messages(served: Served, actors: Cast) -> None:
    with pytest.raises(Unsupported):
        actors.directory.ref(names.FRONTEND).ask(GetStats()).result(10)


def test_a_core_that_cannot_be_opened_is_reported(actors: Cast, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1)

    @asynccontextmanager
    async def broken() -> AsyncIterator[LocalCore]:
        raise OSError("no such folder")
        yield

    listener = bind("127.0.0.1", 0)
    ref = start(Frontend, actors.context(names.FRONTEND), listener, broken, Settings())
    eventually(lambda: has_ended(ref))
    assert [(name, str(error)) for name, error in actors.crashes] == [
        (names.FRONTEND, "the HTTP server did not start: no such folder")
    ]
    assert listener.fileno() == -1
    actors.crashes.clear()


def test_a_request_that_is_cut_when_it_stops_leaves_no_traceback(
    actors: Cast, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SHUTDOWN_SECONDS", 1)
    actors.play(names.SCHEDULER, {GetLimits: Answering.NEVER})
    with frontend(actors) as served, socket.create_connection(("127.0.0.1", served.port)) as asker:
        asker.sendall(f"GET /api/queue/concurrency HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        eventually(lambda: any(type(message) is GetLimits for message in actors.heard[names.SCHEDULER]))
    assert any("Cancel 1 running" in record.getMessage() for record in caplog.records)
    assert not [record for record in caplog.records if record.exc_info]


def test_a_server_that_ends_by_itself_is_reported(
    served: Served, actors: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL + 1)
    ref = actors.directory.get(names.FRONTEND)
    assert ref is not None
    actor = ref._actor_weakref()
    assert isinstance(actor, Frontend)
    assert actor._server is not None
    actor._server.should_exit = True
    del actor
    eventually(lambda: actors.crashes)
    assert str(actors.crashes[0][1]) == "the HTTP server ended by itself"
    eventually(lambda: has_ended(ref))
    actors.crashes.clear()


def test_the_port_is_closed_when_it_has_stopped(served: Served, actors: Cast) -> None:
    ref = actors.directory.get(names.FRONTEND)
    assert ref is not None
    actors.end(names.FRONTEND)
    assert has_ended(ref)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", served.port), timeout=5)
    with pytest.raises(GpuyardError):
        actors.directory.ref(names.FRONTEND).ask(Ready()).result(10)
