"""The actor round the agent: what the journal must know is there before anything follows; beats wait for no disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.journal.file import JournalFile
from gpuyard.actors.journal_keeper import JournalKeeper
from gpuyard.actors.model import names
from gpuyard.actors.model.agent import AgentSettings
from gpuyard.actors.model.agent.journal import Ordered
from gpuyard.actors.model.attempt import GpuRef
from gpuyard.actors.model.commands import (
    AppendJournal,
    ForgetRun,
    LeaveServer,
    LoadJournal,
    Ready,
    RenewLeases,
    RunSpec,
    SendHeartbeat,
    ShortenJournal,
    WantedComplete,
    WantRun,
    WantStop,
    WatchGpus,
    WatchRelease,
    WatchRuns,
    WatchStart,
)
from gpuyard.actors.model.events import (
    AttemptExited,
    AttemptStarted,
    GpuEmptied,
    GpuFacts,
    JournalKept,
    JournalLoaded,
    LinkChanged,
    RunsAdopted,
)
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.message import Message, Ping
from gpuyard.actors.model.wire import RUN, STOP, Heartbeat, Sync, Want
from gpuyard.actors.worker_agent import WorkerAgent
from tests.answering import Cast
from tests.support import eventually

TO_THE_KEEPER = (WantRun, WantStop, ForgetRun, RenewLeases, WantedComplete, WatchRuns)
HEARD = dict.fromkeys((*TO_THE_KEEPER, WatchGpus, WatchRelease, WatchStart, SendHeartbeat))


class Host:
    """A worker's actors: agent and journal are real, keeper, allocator and uplink are recorded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cast = Cast()
        self.left: list[bool] = []
        self.seq = 0

    def boot(self, journal: bool = True) -> None:
        for name in (names.KEEPER, names.GPUS, names.UPLINK):
            self.cast.play(name, HEARD)
        if journal:
            self.cast.start(JournalKeeper, names.JOURNAL, self.folder)
        else:
            self.cast.play(names.JOURNAL, dict.fromkeys((LoadJournal, AppendJournal, ShortenJournal)))
        settings = AgentSettings(heartbeat=60.0, name="box")
        self.cast.start(WorkerAgent, names.AGENT, settings, "boot", "tcp://x:1", lambda: self.left.append(True))

    def tell(self, message: Message, to: str = names.SCHEDULER) -> None:
        """By default as the keeper and the allocator of every host tell it."""
        self.cast.directory.ref(to).tell(message)
        for name in (names.AGENT, names.JOURNAL, names.KEEPER, names.GPUS, names.UPLINK):
            assert self.cast.directory.ref(name).ask(Ping()).result(10)

    def told(self, name: str, kind: type[Message]) -> list[Any]:
        return [message for message in list(self.cast.heard[name]) if isinstance(message, kind)]

    def beat(self, number: int = -1) -> Heartbeat:
        beats = eventually(lambda: self.told(names.UPLINK, SendHeartbeat))
        said: Heartbeat = beats[number].said
        return said

    def adopt(self, live: tuple[int, ...] = ()) -> None:
        """As the keeper and the allocator do at every start."""
        self.tell(GpuFacts(revision=1, observed_at=0.0, backend="simulated", gpus=(GpuFact(uuid="GPU-7", index=7),)))
        self.tell(RunsAdopted(live=live))

    def sync(self, want: dict[int, Want], ack: tuple[int, ...] = (), **more: Any) -> None:
        self.seq += 1
        beat = self.beat()
        fields = {"db_id": "db", "db_epoch": 1, "session": beat.session, "n": beat.n, "sent_at": beat.sent_at, **more}
        self.tell(Sync(want=want, ack=ack, seq=self.seq, **fields), to=names.AGENT)


def run(fence: int = 7, lease: float | None = 60.0) -> Want:
    gpus = (GpuRef(f"GPU-{fence}", fence),)
    spec = RunSpec(fence=fence, job_id=f"job{fence}", attempt=1, argv=("train",), gpus=gpus, num_processes=1)
    return Want(action=RUN, spec_hash="h", spec=spec, lease_seconds=lease, lease_grace=5.0)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.cast.close()
    assert not made.cast.crashes


def entries(folder: Path) -> list[Any]:
    file = JournalFile(folder)
    found = file.load()
    file.close()
    return found


def test_an_order_is_on_the_disk_before_the_keeper_hears_of_it(host: Host) -> None:
    host.boot(journal=False)
    host.tell(JournalLoaded(), to=names.AGENT)
    host.tell(JournalKept(number=1, lines=1), to=names.AGENT)
    host.adopt()
    host.sync({7: run()})
    appended = host.told(names.JOURNAL, AppendJournal)[-1]
    assert any(isinstance(entry, Ordered) for entry in appended.entries)
    assert not host.told(names.KEEPER, WantRun)
    host.tell(JournalKept(number=appended.number, lines=3), to=names.AGENT)
    (wanted,) = eventually(lambda: host.told(names.KEEPER, WantRun))
    assert (wanted.run.fence, wanted.lease_seconds, wanted.lease_grace) == (7, 60.0, 5.0)
    assert wanted.lease_until == host.beat(0).sent_at + 60.0


def test_while_the_disk_hangs_heartbeats_and_leases_go_on(host: Host) -> None:
    host.boot(journal=False)
    host.tell(JournalLoaded(), to=names.AGENT)
    host.tell(JournalKept(number=1, lines=1), to=names.AGENT)
    host.adopt()
    host.sync({7: run()})
    host.tell(JournalKept(number=2, lines=3), to=names.AGENT)
    host.tell(AttemptStarted(fence=7, pid=1, at=1.0))
    host.sync({7: run(), 8: run(8)})
    beats = len(host.told(names.UPLINK, SendHeartbeat))
    host.tell(LinkChanged(up=True), to=names.AGENT)
    assert len(host.told(names.UPLINK, SendHeartbeat)) == beats + 1
    host.sync({7: run(), 8: run(8)})
    assert 7 in host.told(names.KEEPER, RenewLeases)[-1].until
    assert [want.run.fence for want in host.told(names.KEEPER, WantRun)] == [7]


def test_an_end_that_is_not_on_the_disk_is_told_to_nobody(host: Host) -> None:
    host.boot(journal=False)
    host.tell(JournalLoaded(), to=names.AGENT)
    host.tell(JournalKept(number=1, lines=1), to=names.AGENT)
    host.adopt()
    host.sync({7: Want(action=STOP, reason="cancelled by owner")})
    beats = len(host.told(names.UPLINK, SendHeartbeat))
    host.tell(LinkChanged(up=True), to=names.AGENT)
    assert len(host.told(names.UPLINK, SendHeartbeat)) == beats and not host.told(names.KEEPER, WantStop)
    host.tell(JournalKept(number=2, lines=3), to=names.AGENT)
    assert host.told(names.KEEPER, WantStop)[0].reason == "cancelled by owner"
    assert len(host.told(names.UPLINK, SendHeartbeat)) == beats + 1


def test_a_run_from_its_order_to_its_acknowledgement(host: Host) -> None:
    host.boot()
    host.adopt()
    host.tell(LinkChanged(up=True, user_id="w1"), to=names.AGENT)
    host.sync({7: run()})
    eventually(lambda: host.told(names.KEEPER, WantRun))
    assert eventually(lambda: host.told(names.GPUS, WatchStart))[0].uuids == ("GPU-7",)
    host.tell(AttemptStarted(fence=7, pid=42, at=1.0))
    assert host.beat().attempts[7].pid == 42 and host.beat().name == "box"
    host.tell(AttemptExited(fence=7, exit_class="completed", exit_code=0, started_at=1.0, ended_at=2.0))
    assert host.beat().attempts[7].exit_class == "completed"
    assert host.told(names.GPUS, WatchRelease)[0].fence == 7
    host.tell(GpuEmptied(fence=7, uuids=("GPU-7",)))
    assert host.beat().attempts[7].emptied
    host.sync({}, ack=(7,))
    eventually(lambda: host.told(names.KEEPER, ForgetRun))
    host.tell(LinkChanged(up=True, user_id="w1"), to=names.AGENT)
    assert host.beat().attempts == {}


def test_the_next_life_knows_what_was_ordered(host: Host) -> None:
    host.boot()
    host.adopt()
    host.sync({7: run()})
    eventually(lambda: host.told(names.KEEPER, WantRun))
    life = host.beat().life
    host.cast.close()
    host.boot()
    assert host.cast.directory.ref(names.AGENT).ask(Ready()).result(10) is False
    host.adopt(live=(7,))
    (again,) = eventually(lambda: host.told(names.KEEPER, WantRun))
    assert again.run == run().spec
    assert host.beat().life == life + 1 and host.beat().attempts[7].job_id == "job7"
    assert host.told(names.KEEPER, WantedComplete)[0].fences == (7,)
    assert host.cast.directory.ref(names.AGENT).ask(Ready()).result(10) is True


def test_a_long_journal_is_shortened(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuyard.actors.worker_agent.LINES", 12)
    monkeypatch.setattr("gpuyard.actors.worker_agent.TIMES", 2)
    host.boot()
    host.adopt()
    for fence in range(1, 8):
        host.sync({fence: run(fence)})
        host.tell(AttemptExited(fence=fence, exit_class="lost"))
        host.tell(GpuEmptied(fence=fence, uuids=(f"GPU-{fence}",)))
        host.sync({}, ack=(fence,))
    eventually(lambda: len((host.folder / "journal").read_bytes().splitlines()) < 12)
    host.sync({9: run(9)})
    eventually(lambda: any(isinstance(e, Ordered) and e.want.run.fence == 9 for e in entries(host.folder)))
    assert host.beat().life == 1


def test_who_leaves_says_so(host: Host) -> None:
    host.boot()
    host.adopt()
    assert not host.beat().leaving
    assert host.cast.directory.ref(names.AGENT).ask(LeaveServer()).result(10) is True
    eventually(lambda: host.beat().leaving)


def test_an_ephemeral_one_goes_when_the_server_has_all(host: Host) -> None:
    host.boot()
    host.adopt()
    host.sync({}, leave=True)
    eventually(lambda: host.left)


def test_a_keeper_that_has_spoken_before_the_agent_was_there_is_asked_again(host: Host) -> None:
    host.boot()
    eventually(lambda: host.told(names.KEEPER, WatchRuns))


@pytest.mark.parametrize("first", ["runs", "gpus"])
def test_the_first_heartbeat_tells_of_runs_and_of_gpus(host: Host, first: str) -> None:
    host.boot()
    runs = RunsAdopted(live=(3,))
    gpus = GpuFacts(revision=1, observed_at=0.0, backend="simulated", gpus=(GpuFact(uuid="GPU-7", index=7),))
    host.tell(runs if first == "runs" else gpus)
    host.tell(LinkChanged(up=True, user_id="w1"), to=names.AGENT)
    assert not host.told(names.UPLINK, SendHeartbeat)
    host.tell(gpus if first == "runs" else runs)
    assert (set(host.beat(0).attempts), len(host.beat(0).gpus)) == ({3}, 1)
