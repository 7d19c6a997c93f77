"""Workers that lie, against a whole server: each speaks only for the runs that it was given, and ended is ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from gpuyard.actors.model.gpu import GIB, GpuFact
from gpuyard.actors.model.ids import FENCE_BITS
from gpuyard.actors.model.wire import PROTOCOL, RUN, Heartbeat, Report, Sync
from gpuyard.transport import wire_codec as wire
from gpuyard.transport.token import WorkerToken
from tests.e2e.server import Server
from tests.e2e.worker import QUICK, WORKERS, free_port
from tests.peers import Peer, dialled
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


class Liar:
    """A worker by hand: it says what it is told to, and remembers the newest Sync."""

    def __init__(self, peer: Peer, name: str) -> None:
        self.peer, self.name, self.n = peer, name, 0
        self.runs: dict[int, Report] = {}
        self.sync: Sync | None = None
        peer.greet()

    def said(self, **fields: Any) -> Heartbeat:
        self.n += 1
        return Heartbeat(
            **{
                "session": f"session of {self.name}",
                "incarnation": f"host of {self.name}",
                "journal": f"journal of {self.name}",
                "n": self.n,
                "sent_at": time.clock_gettime(time.CLOCK_BOOTTIME),
                "version": "0",
                "backend": "simulated",
                "gpus": (GpuFact(uuid=f"GPU-{self.name}", index=0, memory_total=80 * GIB),),
                "at_once": True,
                "cpu_count": 4,
                "attempts": self.runs,
                "db_id": self.sync.db_id if self.sync else "",
                "db_epoch": self.sync.db_epoch if self.sync else 0,
                **fields,
            }
        )

    def beat(self, **fields: Any) -> Sync:
        self.sync = self.peer.beat(self.said(**fields))
        return self.sync

    def given(self) -> int:
        """The fence of the run that it is given."""

        def wanted() -> list[int]:
            return [fence for fence, want in self.beat().want.items() if want.action == RUN and want.spec is not None]

        return eventually(wanted, timeout=60)[0]


ENDED = Report(phase="exited", exit_class="completed", exit_code=0, started_at=1.0, ended_at=2.0, emptied=True)


def running(pid: int = 7) -> Report:
    return Report(phase="running", pid=pid, started_at=time.time())


class Place:
    def __init__(self, server: Server, honest: Liar, liar: Liar) -> None:
        self.server, self.honest, self.liar = server, honest, liar

    def submit(self) -> str:
        job_id: str = self.server.submit("true", target="worker", worker_labels={"name": self.honest.name})["job_id"]
        return job_id

    def counted(self, cause: str) -> float:
        for line in self.server.get("/metrics").body.splitlines():
            if line.startswith("gpuyard_worker_refused_total{") and f'cause="{cause}"' in line and "gateway" in line:
                return float(line.split()[-1])
        raise AssertionError(f"no such cause: {cause}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("server"), "--zmq-bind", f"127.0.0.1:{free_port()}", gpus="1", **QUICK)
    yield made.start()
    made.close()


@pytest.fixture
def place(server: Server) -> Iterator[Place]:
    """Each test has workers of its own."""
    names = [f"{name}-{time.monotonic_ns()}" for name in ("honest", "liar")]
    tokens = []
    for name in names:
        answer = server.post(WORKERS, {"name": name, "labels": {"name": name}})
        assert answer.status == 200, answer.body
        tokens.append(WorkerToken.decode(answer.body["token"]))
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(dialled(str(token.endpoints[0]), token.server_key, token.keys)) for token in tokens
        )
        made = Place(server, Liar(first, names[0]), Liar(second, names[1]))
        made.honest.beat()
        made.liar.beat()
        yield made


def test_nobody_ends_the_run_of_another_or_one_that_never_was(place: Place) -> None:
    """Somebody else's fence, the ones around it, an old one, one of the future, one of another epoch."""
    job = place.submit()
    fence = place.honest.given()
    place.honest.runs[fence] = running()
    place.honest.beat()
    eventually(lambda: place.server.job(job)["status"] == "running", timeout=30)
    epoch = 1 << FENCE_BITS
    for lie in (fence, fence - 1, fence + 1, 1, fence + epoch, (1 << 62) + 1, -fence):
        for report in (ENDED, Report(phase="exited", exit_class="lost"), running(1)):
            place.liar.runs = {lie: report}
            sync = place.liar.beat()
            assert fence not in sync.want and fence not in sync.ack
    place.liar.runs = {}
    place.liar.beat()
    # The honest one lies about what was never given out, beside the truth.
    place.honest.runs |= {fence + 1: ENDED, fence + epoch: ENDED}
    place.honest.beat()
    del place.honest.runs[fence + 1], place.honest.runs[fence + epoch]
    entry = place.server.job(job)
    assert (entry["status"], entry["attempt"]) == ("running", 1)
    place.honest.runs = {fence: ENDED}
    place.honest.beat()
    done = place.server.wait(job, "completed")
    assert [attempt["fence"] for attempt in done["attempts"]] == [fence]
    other = place.submit()
    place.honest.runs = {}
    next_fence = place.honest.given()
    assert next_fence > fence and next_fence - fence < 1_000, "no lie has moved the fences"
    assert place.server.job(other)["attempts"][0]["fence"] == next_fence


def test_what_has_ended_stays_as_it_ended(place: Place) -> None:
    job = place.submit()
    fence = place.honest.given()
    place.honest.runs = {fence: running()}
    started = place.honest.said()
    place.honest.peer.beat(started)
    place.honest.runs = {fence: ENDED}
    place.honest.beat()
    done = place.server.wait(job, "completed")
    eventually(lambda: fence in place.honest.beat().ack, timeout=30)
    # It runs again, says a replayed heartbeat; it has failed, says a late one; it was lost, says a third.
    before = place.counted("replayed")
    place.honest.peer.send(wire.pack(started))
    eventually(lambda: place.counted("replayed") == before + 1)
    for late in (running(8), Report(phase="exited", exit_class="exit:1", exit_code=1), Report(phase="lost")):
        place.honest.runs = {fence: late}
        place.honest.beat()
    again = place.server.job(job)
    for field in ("status", "exit_code", "exit_class", "completed_at", "attempt"):
        assert again[field] == done[field], field


def test_a_stolen_session_and_incarnation_do_not_make_another_worker(place: Place) -> None:
    job = place.submit()
    fence = place.honest.given()
    place.honest.runs = {fence: running()}
    place.honest.beat()
    stolen = place.honest.said(n=10_000, attempts={fence: ENDED})
    place.liar.peer.send(wire.pack(stolen))
    place.honest.beat(n=place.honest.n)
    place.honest.beat()
    assert place.server.job(job)["status"] == "running"
    assert place.server.get(f"{WORKERS}/{place.honest.name}").body["current_job_id"] == job
    assert place.server.get(f"{WORKERS}/{place.liar.name}").body["current_job_id"] is None


def test_versions_that_are_not_spoken_get_nothing_and_the_one_before_keeps_its_runs(place: Place) -> None:
    before, other = place.counted("version"), place.liar.peer
    other.send(wire.pack(wire.Greet(protocol=PROTOCOL + 9, oldest=PROTOCOL + 8)))
    assert other.hear().code == "version"
    assert place.counted("version") == before + 1
    job = place.submit()
    fence = place.honest.given()
    place.honest.runs = {fence: running()}
    older = place.honest.beat(protocol=PROTOCOL - 1)
    assert older.want[fence].action == RUN, "its run is kept"
    assert place.server.get(f"{WORKERS}/{place.honest.name}").body["current_job_id"] == job
    waiting = place.submit()
    for _ in range(3):
        assert set(place.honest.beat(protocol=PROTOCOL - 1).want) == {fence}, "and gets no new one"
    assert place.server.job(waiting)["status"] == "pending"
