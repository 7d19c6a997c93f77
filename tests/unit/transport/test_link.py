"""The link and its client, for real: a ZeroMQ socket, real actors, an event loop."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest
import zmq

from gpuyard.actors.model import names
from gpuyard.actors.model.commands import (
    GetActorStats,
    GetCommitTimes,
    GetLimits,
    GetStats,
    ProcessQueue,
    Publish,
    Ready,
    SetLimits,
)
from gpuyard.actors.model.commit import EventRow
from gpuyard.actors.model.errors import GpuyardError, NotAllowed, TimedOut, Unavailable, Unsupported
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.message import Ping, Shutdown
from gpuyard.actors.model.views import ActorStats, QueueProcessed
from gpuyard.transport import codec
from gpuyard.transport.client import LinkClient
from gpuyard.transport.link import Link
from gpuyard.transport.sockets import LINK_SOCKET, SocketFolder
from tests.answering import Answering, Cast, gate
from tests.support import eventually

T = TypeVar("T")


def with_client(folder: Path, use: Callable[[LinkClient], Awaitable[T]]) -> T:
    """What `use` gives, run in an event loop with a connected client."""

    async def main() -> T:
        async with LinkClient(folder) as client:
            await client.wait_connected(10)
            return await use(client)

    return asyncio.run(main())


class Recorder:
    """A watcher that keeps what it hears; `heard` is set at each."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.revisions: list[int] = []
        self.interruptions = 0
        self.heard = asyncio.Event()

    def published(self, events: tuple[EventRow, ...], revision: int) -> None:
        self.ids += [event.id for event in events]
        self.revisions.append(revision)
        self.heard.set()

    def interrupted(self) -> None:
        self.interruptions += 1
        self.heard.set()

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not check():
                self.heard.clear()
                await self.heard.wait()


def event(number: int) -> EventRow:
    return EventRow(id=number, at=1.5, kind="job_submitted", job_id="j", user_id=1, data={"n": number})


def test_an_actor_is_asked_and_answers(yard: Cast, folder: Path) -> None:
    limits = with_client(folder, lambda client: client.ask(names.SCHEDULER, GetLimits(cause="r1")))
    assert limits == Limits(max_concurrent=7)
    assert yard.heard[names.SCHEDULER][-1] == GetLimits(cause="r1")


def test_whoever_asks_before_the_loop_has_heard_of_the_connection_does_not_keep_it_from_coming_up(
    yard: Cast, folder: Path
) -> None:
    """The question greets the link then, and ZeroMQ wakes nobody for the answer to that greeting."""

    async def main() -> Limits:
        async with LinkClient(folder) as client:
            assert client._monitor.poll(10_000)
            with suppress(Unavailable):
                return await client.ask(names.SCHEDULER, GetLimits())
            await client.wait_connected(10)
            return await client.ask(names.SCHEDULER, GetLimits())

    assert asyncio.run(main()) == Limits(max_concurrent=7)


def test_many_are_asked_at_once_and_each_gets_its_own_answer(yard: Cast, folder: Path) -> None:
    yard.play(
        names.SCHEDULER,
        {SetLimits: lambda message: Limits(max_concurrent=message.changes["max_concurrent"])},
    )

    async def use(client: LinkClient) -> list[int]:
        asked = [client.ask(names.SCHEDULER, SetLimits(changes={"max_concurrent": n})) for n in range(500)]
        return [limits.max_concurrent for limits in await asyncio.gather(*asked)]

    assert with_client(folder, use) == list(range(500))


def test_an_error_of_the_actor_reaches_the_asker(yard: Cast, folder: Path) -> None:
    yard.play(names.SCHEDULER, {ProcessQueue: NotAllowed("ask an admin")})
    with pytest.raises(NotAllowed, match="ask an admin"):
        with_client(folder, lambda client: client.ask(names.SCHEDULER, ProcessQueue()))


def test_an_actor_that_is_not_there_is_unavailable(yard: Cast, folder: Path) -> None:
    with pytest.raises(Unavailable, match="history is not running"):
        with_client(folder, lambda client: client.ask(names.HISTORY, Ready()))


@pytest.mark.parametrize(("to", "message"), [("nobody", Ready()), (names.SCHEDULER, Shutdown())])
def test_what_may_not_be_asked_is_unsupported(yard: Cast, folder: Path, to: str, message: Ready | Shutdown) -> None:
    with pytest.raises(Unsupported):
        with_client(folder, lambda client: client.ask(to, message))
    assert yard.directory.ref(names.SCHEDULER).ask(Ping()).result(5) is True


def test_an_answer_that_does_not_come_times_out_and_may_come_later(yard: Cast, folder: Path) -> None:
    answer, opened = gate()
    yard.play(names.SCHEDULER, {Ready: answer, GetLimits: Limits()})

    async def use(client: LinkClient) -> Limits:
        with pytest.raises(TimedOut, match=r"scheduler did not answer within 0\.05 s"):
            await client.ask(names.SCHEDULER, Ready(), timeout=0.05)
        opened.set()
        found: Limits = await client.ask(names.SCHEDULER, GetLimits())
        assert client._pending == {}
        return found

    assert with_client(folder, use) == Limits()


def test_a_slow_actor_holds_up_nobody_else(yard: Cast, folder: Path) -> None:
    answer, opened = gate()
    yard.play(names.HISTORY, {Ready: answer})

    async def use(client: LinkClient) -> bool:
        slow = asyncio.ensure_future(client.ask(names.HISTORY, Ready()))
        for _ in range(20):
            await client.ask(names.SCHEDULER, GetLimits())
        assert not slow.done()
        opened.set()
        return bool(await slow)

    assert with_client(folder, use)


def test_a_told_message_arrives_and_nothing_is_answered(yard: Cast, folder: Path) -> None:
    yard.play(names.SCHEDULER, {ProcessQueue: QueueProcessed(job_ids=[]), Ready: True})

    async def use(client: LinkClient) -> None:
        client.tell(names.SCHEDULER, ProcessQueue(cause="told"))
        assert await client.ask(names.SCHEDULER, Ready())

    with_client(folder, use)
    assert ProcessQueue(cause="told") in yard.heard[names.SCHEDULER]


def test_what_is_published_reaches_all_clients_in_order(yard: Cast, folder: Path) -> None:
    link = yard.directory.ref(names.LINK)

    async def use(first: LinkClient) -> None:
        async with LinkClient(folder) as second:
            await second.wait_connected(10)
            recorders = []
            for client in (first, second):
                recorders.append(Recorder())
                client.watch(recorders[-1])
            for number in range(1, 101):
                link.tell(Publish(events=(event(number),), revision=number))
            for recorder in recorders:
                await recorder.until(lambda r=recorder: len(r.ids) == 100)  # type: ignore[misc]
                assert recorder.ids == recorder.revisions == list(range(1, 101))
                assert recorder.interruptions == 0

    with_client(folder, use)


def test_who_no_longer_watches_hears_nothing(yard: Cast, folder: Path) -> None:
    async def use(client: LinkClient) -> None:
        gone, there = Recorder(), Recorder()
        client.watch(gone)
        client.watch(there)
        client.unwatch(gone)
        yard.directory.ref(names.LINK).tell(Publish(events=(event(1),), revision=1))
        await there.until(lambda: there.ids == [1])
        assert gone.ids == []

    with_client(folder, use)


def test_a_client_that_is_gone_is_forgotten(yard: Cast, folder: Path) -> None:
    async def nothing(client: LinkClient) -> None:
        await client.ask(names.LINK, Ready())

    with_client(folder, nothing)
    reference = yard.directory.get(names.LINK)
    assert reference is not None
    actor = reference._actor_weakref()
    assert isinstance(actor, Link)

    def forgotten() -> bool:
        yard.directory.ref(names.LINK).tell(Publish(revision=1))
        return not actor._watchers

    eventually(forgotten)


def test_without_a_core_a_call_fails_at_once(folder: Path) -> None:
    async def main() -> None:
        async with LinkClient(folder) as client:
            with pytest.raises(Unavailable, match="starting or restarting"):
                await client.ask(names.SCHEDULER, GetLimits())
            with pytest.raises(Unavailable, match="not running"):
                await client.wait_connected(0.01)

    asyncio.run(main())


def test_when_the_core_restarts_waiting_calls_fail_and_new_ones_are_answered(yard: Cast, folder: Path) -> None:
    answer, opened = gate()
    yard.play(names.HISTORY, {Ready: answer})

    async def use(client: LinkClient) -> Limits:
        recorder = Recorder()
        client.watch(recorder)
        waiting = asyncio.ensure_future(client.ask(names.HISTORY, Ready()))
        await asyncio.to_thread(eventually, lambda: Ready() in yard.heard[names.HISTORY])
        await asyncio.to_thread(yard.end, names.LINK)
        with pytest.raises(Unavailable):
            await waiting
        assert not client.connected
        opened.set()
        await asyncio.to_thread(yard.start, Link, names.LINK, folder)
        await client.wait_connected(10)
        assert recorder.interruptions == 1
        yard.directory.ref(names.LINK).tell(Publish(events=(event(5),), revision=5))
        await recorder.until(lambda: recorder.ids == [5])
        found: Limits = await client.ask(names.SCHEDULER, GetLimits())
        return found

    assert with_client(folder, use) == Limits(max_concurrent=7)


def test_a_client_that_starts_first_finds_the_core_when_it_comes(folder: Path, yard: Cast) -> None:
    yard.end(names.LINK)

    async def main() -> Limits:
        async with LinkClient(folder) as client:
            assert not client.connected
            await asyncio.to_thread(yard.start, Link, names.LINK, folder)
            await client.wait_connected(10)
            found: Limits = await client.ask(names.SCHEDULER, GetLimits())
            return found

    assert asyncio.run(main()) == Limits(max_concurrent=7)


def test_garbage_on_the_socket_harms_nobody(yard: Cast, folder: Path) -> None:
    opened = SocketFolder(folder)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    raw = context.socket(zmq.DEALER)
    raw.connect(opened.endpoint(LINK_SOCKET))
    for frames in ([b""], [b"\x80\x04N."], [b"a", b"b", b"c"], [codec.pack(codec.Hello())[:-1]]):
        raw.send_multipart(frames)
    raw.send(codec.pack_call(77, "nobody", GetLimits()))
    answer = codec.unpack_downward(raw.recv())
    raw.close(linger=0)
    context.term()
    opened.close()
    assert isinstance(answer, codec.Answer)
    assert (answer.id, answer.code) == (77, "unsupported")
    assert with_client(folder, lambda client: client.ask(names.SCHEDULER, GetLimits())) == Limits(max_concurrent=7)


def test_a_client_that_does_not_read_is_told_that_it_missed_something(
    yard: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpuyard.transport.link.HIGH_WATER", 1)
    yard.end(names.LINK)
    yard.start(Link, names.LINK, folder)
    link = yard.directory.ref(names.LINK)
    opened = SocketFolder(folder)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    lazy = context.socket(zmq.DEALER)
    lazy.setsockopt(zmq.RCVHWM, 1)
    lazy.setsockopt(zmq.RCVTIMEO, 10_000)
    lazy.connect(opened.endpoint(LINK_SOCKET))
    try:
        lazy.send(codec.pack(codec.Hello()))
        assert isinstance(codec.unpack_downward(lazy.recv()), codec.Welcome)
        big = EventRow(id=1, at=1.0, kind="job_started", data={"x": "y" * 100_000})
        for revision in range(1, 51):
            link.tell(Publish(events=(big,), revision=revision))
        assert link.ask(Ready()).result(10)

        def told() -> bool:
            link.tell(Publish(revision=1_000))
            frame = codec.unpack_downward(lazy.recv())
            return isinstance(frame, codec.Published) and frame.missed

        eventually(told)
    finally:
        lazy.close(linger=0)
        context.term()
        opened.close()


def test_a_missed_event_interrupts_the_watchers(yard: Cast, folder: Path) -> None:
    async def use(client: LinkClient) -> tuple[int, list[int]]:
        recorder = Recorder()
        client.watch(recorder)
        client._publish(codec.Published(events=(event(4),), revision=2, missed=True))
        return recorder.interruptions, recorder.ids

    assert with_client(folder, use) == (1, [4])


def test_a_flood_of_calls_does_not_keep_the_link_from_anything_else(yard: Cast, folder: Path) -> None:
    async def use(client: LinkClient) -> None:
        flood = [asyncio.ensure_future(client.ask(names.SCHEDULER, GetLimits())) for _ in range(3_000)]
        await asyncio.sleep(0)
        assert await asyncio.wrap_future(yard.directory.ref(names.LINK).ask(Ping())) is True
        assert all(isinstance(limits, Limits) for limits in await asyncio.gather(*flood))

    with_client(folder, use)


def test_the_socket_is_private_and_goes_with_the_link(yard: Cast, folder: Path) -> None:
    socket = folder / LINK_SOCKET
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    yard.end(names.LINK)
    assert not socket.exists()


def test_the_stats_tell_depths_and_commit_times(yard: Cast, folder: Path) -> None:
    yard.play(names.STORE, {GetCommitTimes: [0.25, 0.5]})
    stats: ActorStats = with_client(folder, lambda client: client.ask(names.LINK, GetActorStats()))
    assert stats.commit_seconds == [0.25, 0.5]
    assert set(stats.inboxes) == {names.SCHEDULER, names.STORE, names.LINK}
    assert stats.uptime_seconds > 0


def test_the_stats_come_without_a_store(yard: Cast, folder: Path) -> None:
    stats: ActorStats = with_client(folder, lambda client: client.ask(names.LINK, GetActorStats()))
    assert stats.commit_seconds == []


def test_an_actor_that_breaks_answers_internal_and_the_link_lives(
    yard: Cast, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A kept log record would keep the broken actor, and with it its inbox, alive.
    caplog.set_level(logging.CRITICAL + 1)
    yard.play(names.SCHEDULER, {GetStats: lambda message: message.no_such_field, GetLimits: Limits()})
    with pytest.raises(GpuyardError) as failure:
        with_client(folder, lambda client: client.ask(names.SCHEDULER, GetStats()))
    assert failure.value.code == "internal"
    eventually(lambda: [name for name, _ in yard.crashes] == [names.SCHEDULER])  # the answer comes first
    yard.crashes.clear()
    yard.play(names.SCHEDULER, {GetLimits: Limits()})
    assert with_client(folder, lambda client: client.ask(names.SCHEDULER, GetLimits())) == Limits()


def test_an_actor_may_answer_never(yard: Cast, folder: Path) -> None:
    yard.play(names.SCHEDULER, {GetLimits: Answering.NEVER})
    with pytest.raises(TimedOut):
        with_client(folder, lambda client: client.ask(names.SCHEDULER, GetLimits(), timeout=0.05))
