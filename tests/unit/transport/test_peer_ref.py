"""A reference to an actor on another host has the manners of a local one, in whichever direction it points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gpuyard.actors.base import Ref
from gpuyard.actors.model import names
from gpuyard.actors.model.commands import GetGpuFacts, GetManifest, ListWorkers, ReadLog, Ready
from gpuyard.actors.model.errors import GpuyardError, NotFound, TimedOut, Unavailable, Unsupported
from gpuyard.actors.model.events import GpuFacts
from gpuyard.actors.model.message import Message, Ping
from gpuyard.actors.model.views import BlobManifest, LogChunk
from gpuyard.transport.peer_ref import PeerRef
from tests.answering import Answering, Cast
from tests.hosts import ServerHost, WorkerHost, beat, server_host, worker_host
from tests.support import eventually

FACTS = GpuFacts(revision=3, observed_at=1.5, backend="simulated")
CHUNK = LogChunk(data=b"step 1\n", offset=0, end=7, size=7)


@dataclass
class Case:
    """`ref` points at the actor `name` of `there`; `good` is a question that it answers with `answer`."""

    ref: Ref
    there: Cast
    name: str
    good: Message
    answer: object

    def play(self, answer: object) -> None:
        self.there.play(self.name, {type(self.good): answer})


@pytest.fixture
def hosts() -> Iterator[tuple[ServerHost, WorkerHost]]:
    with server_host() as server, worker_host(server.enrol("w1")) as worker:
        worker.wait_up()
        worker.say(beat(1))
        server.answer(eventually(lambda: server.said("w1"))[0])
        eventually(lambda: server.stats(names.BULK).sessions)
        yield server, worker


@pytest.fixture(params=["local", "a worker's GPUs", "a worker's logs", "the server's blobs", "the registry"])
def case(request: pytest.FixtureRequest, hosts: tuple[ServerHost, WorkerHost]) -> Case:
    server, worker = (host.cast for host in hosts)
    to = {
        "local": (worker.directory.ref(names.GPUS), worker, names.GPUS, GetGpuFacts(), FACTS),
        "a worker's GPUs": (
            PeerRef(server.directory.ref(names.GATEWAY), names.GPUS, "w1"),
            worker,
            names.GPUS,
            GetGpuFacts(),
            FACTS,
        ),
        "a worker's logs": (
            PeerRef(server.directory.ref(names.BULK), names.LOGS, "w1"),
            worker,
            names.LOGS,
            ReadLog(fence=1 << 40 | 3),
            CHUNK,
        ),
        "the server's blobs": (
            PeerRef(worker.directory.ref(names.BULK), names.BLOBS),
            server,
            names.BLOBS,
            GetManifest(blob="0" * 64),
            BlobManifest(size=3, chunks=b"x" * 32),
        ),
        "the registry": (
            PeerRef(worker.directory.ref(names.UPLINK), names.WORKERS),
            server,
            names.WORKERS,
            Ready(),
            True,
        ),
    }[request.param]
    made = Case(*to)
    made.play(made.answer)
    return made


def test_ask_gives_a_future_of_the_answer(case: Case) -> None:
    assert case.ref.ask(case.good).result(10) == case.answer
    assert case.ref.ask(Ping()).result(10) is True


def test_ask_gives_errors_as_themselves(case: Case) -> None:
    case.play(NotFound("the log of this run is gone", fence=3))
    with pytest.raises(NotFound, match="the log of this run is gone") as caught:
        case.ref.ask(case.good).result(10)
    assert caught.value.data == {"fence": 3}


def test_what_may_not_be_asked_is_unsupported(case: Case) -> None:
    with pytest.raises(Unsupported):
        case.ref.ask(ListWorkers()).result(10)


def test_an_actor_that_is_not_there_is_unavailable(case: Case) -> None:
    case.there.end(case.name)
    with pytest.raises(Unavailable, match="is not running"):
        case.ref.ask(case.good).result(10)


def test_tell_arrives_before_a_later_ask(case: Case) -> None:
    case.ref.tell(case.good)
    assert case.ref.ask(Ready()).result(10) is True
    heard = case.there.heard[case.name]
    assert heard.index(case.good) < len(heard) - 1 or case.good == Ready()


def test_many_are_asked_at_once_and_each_gets_its_own_answer(hosts: tuple[ServerHost, WorkerHost]) -> None:
    server, worker = hosts
    worker.cast.play(names.LOGS, {ReadLog: lambda m: LogChunk(data=b"", offset=m.fence, end=m.fence, size=m.fence)})
    ref = PeerRef(server.cast.directory.ref(names.BULK), names.LOGS, "w1")
    for batch in range(20):
        asked = {fence: ref.ask(ReadLog(fence=fence)) for fence in range(batch * 8, batch * 8 + 8)}
        assert all(reply.result(10).offset == fence for fence, reply in asked.items())


def test_an_answer_that_does_not_come_times_out(hosts: tuple[ServerHost, WorkerHost]) -> None:
    server, worker = hosts
    worker.cast.play(names.GPUS, {GetGpuFacts: Answering.NEVER})
    ref = PeerRef(server.cast.directory.ref(names.GATEWAY), names.GPUS, "w1", timeout=0.05)
    with pytest.raises(TimedOut, match="gpus did not answer within"):
        ref.ask(GetGpuFacts()).result(10)


def test_a_call_ends_with_the_connection_not_with_its_deadline(hosts: tuple[ServerHost, WorkerHost]) -> None:
    server, worker = hosts
    worker.cast.play(names.GPUS, {GetGpuFacts: Answering.NEVER})
    server.cast.play(names.WORKERS, {Ready: Answering.NEVER})
    down = PeerRef(server.cast.directory.ref(names.GATEWAY), names.GPUS, "w1", timeout=1_000).ask(GetGpuFacts())
    up = PeerRef(worker.cast.directory.ref(names.UPLINK), names.WORKERS, timeout=1_000).ask(Ready())
    eventually(lambda: GetGpuFacts() in worker.cast.heard[names.GPUS] and Ready() in server.cast.heard[names.WORKERS])
    (key,) = server.allowed
    server.revoke(key)
    for asked in (down, up):
        with pytest.raises(Unavailable):
            asked.result(10)


def test_an_answer_that_does_not_fit_into_a_frame_is_an_error_and_nothing_breaks(
    hosts: tuple[ServerHost, WorkerHost],
) -> None:
    server, worker = hosts
    huge = LogChunk(data=bytes(1 << 20), offset=0, end=1 << 20, size=1 << 20)
    worker.cast.play(names.LOGS, {ReadLog: huge})
    ref = PeerRef(server.cast.directory.ref(names.BULK), names.LOGS, "w1")
    with pytest.raises(GpuyardError, match="too large"):
        ref.ask(ReadLog(fence=1)).result(10)
    assert ref.ask(Ping()).result(10) is True


def test_without_a_connection_a_question_fails_at_once_and_a_tell_is_dropped() -> None:
    with server_host() as server:
        ref = PeerRef(server.cast.directory.ref(names.GATEWAY), names.GPUS, "w1")
        ref.tell(GetGpuFacts())
        with pytest.raises(Unavailable, match="w1 is not connected"):
            ref.ask(GetGpuFacts()).result(10)
