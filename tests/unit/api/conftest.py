"""The application over small real actors, in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetEvents, GetLastEvent, GetLimits, ProcessQueue
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.views import QueueProcessed
from gpuyard.api.app import create_app
from gpuyard.api.core import LocalCore
from gpuyard.api.identity import OwnerOnLoopback
from gpuyard.api.settings import Settings
from tests import leaks
from tests.answering import Cast, cast
from tests.frontends import Served, frontend

URL = "http://127.0.0.1:8000"
PEER = ("127.0.0.1", 50_000)


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@pytest.fixture
def actors() -> Iterator[Cast]:
    """A scheduler and a history that answer a few questions."""
    with cast() as made:
        made.play(names.SCHEDULER, {GetLimits: Limits(), ProcessQueue: QueueProcessed(job_ids=["j1"])})
        made.play(names.HISTORY, {GetLastEvent: (0, 0), GetEvents: []})
        yield made


def client_of(actors: Cast, settings: Settings | None = None) -> TestClient:
    """The application, asked by the owner on loopback."""
    app = create_app(
        LocalCore(actors.directory), settings or Settings(), OwnerOnLoopback(uid_of=lambda client, server: os.geteuid())
    )
    return TestClient(app, base_url=URL, client=PEER, raise_server_exceptions=False)


@pytest.fixture
def api(actors: Cast) -> Iterator[TestClient]:
    with client_of(actors) as client:
        yield client


@pytest.fixture
def served(actors: Cast) -> Iterator[Served]:
    """The same over a real port."""
    with frontend(actors) as made:
        yield made
