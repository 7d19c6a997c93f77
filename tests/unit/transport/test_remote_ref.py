"""A remote reference has the manners of a local one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpuyard.actors.base import Ref
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetLimits, ProcessQueue, Ready
from gpuyard.actors.model.errors import Unavailable, Unsupported
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.message import Shutdown
from gpuyard.actors.model.views import QueueProcessed
from gpuyard.transport.client import LinkClient
from gpuyard.transport.remote_ref import RemoteRef
from tests.answering import Cast


@contextmanager
def client_in_a_thread(folder: Path) -> Iterator[LinkClient]:
    """A client whose event loop runs in another thread, as the Frontend's does."""
    made: list[LinkClient] = []
    ready, done = threading.Event(), threading.Event()

    async def main() -> None:
        async with LinkClient(folder) as client:
            await client.wait_connected(10)
            made.append(client)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(10)
        yield made[0]
    finally:
        done.set()
        thread.join(10)


@pytest.fixture(params=["local", "remote"])
def scheduler(request: pytest.FixtureRequest, yard: Cast, folder: Path) -> Iterator[Ref]:
    """The scheduler, by a reference of each kind: the tests below hold for both."""
    yard.play(names.SCHEDULER, {GetLimits: Limits(max_concurrent=7), ProcessQueue: QueueProcessed(job_ids=[])})
    if request.param == "local":
        yield yard.directory.ref(names.SCHEDULER)
    else:
        with client_in_a_thread(folder) as client:
            yield RemoteRef(client, names.SCHEDULER)


def test_ask_gives_a_future_of_the_answer(scheduler: Ref) -> None:
    assert scheduler.ask(GetLimits()).result(10) == Limits(max_concurrent=7)


def test_ask_gives_errors_as_themselves(scheduler: Ref) -> None:
    from gpuyard.actors.model.commands import GetStats

    with pytest.raises(Unsupported):
        scheduler.ask(GetStats()).result(10)


def test_tell_arrives_before_a_later_ask(scheduler: Ref, yard: Cast) -> None:
    scheduler.tell(ProcessQueue(cause="told"))
    assert scheduler.ask(Ready()).result(10) is True
    heard = yard.heard[names.SCHEDULER]
    assert heard.index(ProcessQueue(cause="told")) < heard.index(Ready())


def test_a_closed_link_is_unavailable_and_tells_are_dropped(yard: Cast, folder: Path) -> None:
    with client_in_a_thread(folder) as client:
        ref = RemoteRef(client, names.SCHEDULER)
    ref.tell(Shutdown())
    with pytest.raises(Unavailable):
        ref.ask(Ready()).result(10)
