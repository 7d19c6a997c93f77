"""A real server on a real port, with actors that would notice whatever gets through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetEvents, GetLastEvent, GetLimits, ProcessQueue
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.views import QueueProcessed
from tests import leaks
from tests.answering import Cast, cast
from tests.frontends import Served, frontend


@pytest.fixture(scope="module", autouse=True)
def _no_leaks() -> Iterator[None]:
    yield from leaks.watched()


@contextmanager
def playing() -> Iterator[Cast]:
    with cast() as made:
        made.play(names.SCHEDULER, {GetLimits: Limits(), ProcessQueue: QueueProcessed(job_ids=[])})
        made.play(names.HISTORY, {GetLastEvent: (0, 0), GetEvents: []})
        yield made


@pytest.fixture
def actors() -> Iterator[Cast]:
    """For a server of the test's own."""
    with playing() as made:
        yield made


@pytest.fixture(scope="module")
def one_server() -> Iterator[Served]:
    with playing() as made, frontend(made) as served:
        yield served


@pytest.fixture
def served(one_server: Served) -> Served:
    """The server that a module's tests share; its actors have heard nothing yet."""
    for heard in one_server.cast.heard.values():
        heard.clear()
    return one_server
