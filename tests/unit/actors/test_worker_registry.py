"""The registry's shell: what is durable before it is told, what the gateway and the Scheduler hear, what is refused.

The store is the real one; the gateway and the Scheduler only listen. What the fleet decides is tested with the fleet.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.model import commands as c, events as e, names
from gpuyard.actors.model.commit import Snapshot
from gpuyard.actors.model.errors import (
    GpuyardError,
    InvalidInput,
    NotAllowed,
    NotFound,
    StoreFailed,
    Unavailable,
    WrongState,
)
from gpuyard.actors.model.fleet import FleetSettings, WorkerRecord
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.message import Message
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.views import SecretValues, TokenIssued, WorkerEnrolled, WorkerView
from gpuyard.actors.model.wire import Heartbeat, Report
from gpuyard.actors.queue_store import QueueStore
from gpuyard.actors.store import registers, tables
from gpuyard.actors.worker_registry import WorkerRegistry
from tests.answering import Cast, cast
from tests.support import eventually

BOSS = Viewer(user_id=7, username="boss", level=Level.ADMIN, address="127.0.0.1")
SETTINGS = FleetSettings(heartbeat=0.2, offline_after=60.0, lease_margin=1.0)


class Scene:
    """A registry between a real store and listeners."""

    def __init__(self, made: Cast, folder: Path) -> None:
        self.cast = made
        self.database = folder / "jobs.db"
        self._numbers = itertools.count(1)
        scheduler = {c.WantAgain: None, e.SnapshotLoaded: None, e.WorkerFacts: None, e.AttemptExited: None}
        made.play(names.SCHEDULER, {**scheduler, e.AttemptStarted: None, e.GpuEmptied: None, e.OrphanSeen: None})
        made.play(names.GATEWAY, {c.AllowKeys: None, c.SendToPeer: None, c.IssueToken: self._issue})
        made.start(QueueStore, names.STORE, self.database)

    def _issue(self, _: Message) -> TokenIssued:
        number = next(self._numbers)
        return TokenIssued(public_key=f"key{number:037d}", token=f"gyw1_{number}", endpoint="tcp://box:8100")

    def registry(self, settings: FleetSettings = SETTINGS, enabled: bool = True) -> None:
        """Start one (again); returns when it is ready."""
        self.cast.end(names.WORKERS)
        self.cast.start(WorkerRegistry, names.WORKERS, settings, enabled)
        eventually(lambda: self.ask(c.Ready()))

    def ask(self, message: Message) -> Any:
        return self.cast.directory.ref(names.WORKERS).ask(message).result(10)

    def tell(self, message: Message) -> None:
        self.cast.directory.ref(names.WORKERS).tell(message)

    def heard(self, name: str, kind: type[Any]) -> list[Any]:
        return [message for message in self.cast.heard[name] if isinstance(message, kind)]

    def allowed(self) -> list[str]:
        """What the gateway heard last of which keys work."""
        return list(self.heard(names.GATEWAY, c.AllowKeys)[-1].keys.values())

    def add(self, name: str = "box", **more: Any) -> WorkerEnrolled:
        enrolled: WorkerEnrolled = self.ask(c.AddWorker(name=name, by=BOSS, **more))
        return enrolled

    def workers(self) -> dict[str, WorkerView]:
        return {worker.name: worker for worker in self.ask(c.ListWorkers())}

    def beat(self, worker: WorkerView, n: int = 1, session: str = "s1", **more: Any) -> None:
        gpus = (GpuFact(uuid="GPU-a", index=0, name="SIM", memory_total=80 << 30),)
        said = Heartbeat(session=session, incarnation="boot", n=n, sent_at=float(n), gpus=gpus, at_once=True, **more)
        self.tell(e.PeerSaid(user_id=f"{worker.id}.1", route=b"r1", said=said, address="10.0.0.7", key="key"))

    def stored(self, register: str) -> list[dict[str, Any]]:
        """A register's rows, as the store reads them."""
        answer = self.cast.directory.ref(names.STORE).ask(c.LoadRegisters(registers=(register,))).result(10)
        rows: list[dict[str, Any]] = answer[register]
        return rows

    def audit(self) -> list[tuple[str, int, str]]:
        with sqlite3.connect(self.database) as connection:
            return connection.execute("SELECT action, user_id, subject FROM audit ORDER BY id").fetchall()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with cast() as made:
        found = Scene(made, tmp_path)
        found.registry()
        yield found
        assert made.crashes == []


def test_the_table_has_a_column_for_each_field_of_a_record() -> None:
    assert set(tables.Worker._meta.columns) == set(WorkerRecord.__struct_fields__)
    assert registers.REGISTERS["worker"] is tables.Worker


def test_an_enrolled_worker_is_stored_with_its_public_key_alone_and_its_token_is_shown_once(scene: Scene) -> None:
    enrolled = scene.add(labels={"gpu_type": "a100"})
    assert enrolled.token == "gyw1_1" and enrolled.command == "GPUYARD_WORKER_TOKEN=gyw1_1 gpuyard worker"
    assert enrolled.token not in repr(enrolled)
    row = scene.stored("worker")[0]
    assert "key" in row["keys"] and "gyw1" not in str(row)
    assert (enrolled.worker.status, enrolled.worker.labels) == ("connecting", {"gpu_type": "a100"})
    assert scene.audit() == [("worker_added", 7, enrolled.worker.id)]


def test_the_gateway_hears_of_a_key_only_when_the_worker_is_durable(scene: Scene) -> None:
    stored_when_told: list[int] = []
    scene.cast.end(names.GATEWAY)
    answers = {c.SendToPeer: None, c.IssueToken: scene._issue}
    scene.cast.play(
        names.GATEWAY, {**answers, c.AllowKeys: lambda message: stored_when_told.append(len(scene.stored("worker")))}
    )
    scene.add()
    eventually(lambda: stored_when_told)
    assert stored_when_told == [1]


def test_at_its_start_it_tells_the_keys_asks_what_shall_run_and_says_whom_it_knows(scene: Scene) -> None:
    worker = scene.add().worker
    scene.cast.heard[names.GATEWAY].clear()
    scene.cast.heard[names.SCHEDULER].clear()
    scene.registry()
    eventually(lambda: scene.heard(names.GATEWAY, c.AllowKeys))
    assert list(scene.heard(names.GATEWAY, c.AllowKeys)[0].keys.values()) == [f"{worker.id}.1"]
    assert scene.heard(names.SCHEDULER, c.WantAgain)
    facts = next(facts for facts in scene.heard(names.SCHEDULER, e.WorkerFacts) if not facts.partial)
    assert [fact.worker_id for fact in facts.workers] == [worker.id]


def test_a_gateway_that_starts_is_told_the_keys(scene: Scene) -> None:
    scene.add()
    scene.cast.heard[names.GATEWAY].clear()
    scene.tell(e.KeysWanted())
    eventually(lambda: scene.heard(names.GATEWAY, c.AllowKeys))


def test_a_heartbeat_is_answered_and_the_scheduler_hears_the_facts(scene: Scene) -> None:
    worker = scene.add().worker
    scene.tell(c.WantedComplete(fences=()))
    scene.beat(worker, labels={"rack": "r1"}, cpu_count=8)
    sent = eventually(lambda: scene.heard(names.GATEWAY, c.SendToPeer))
    assert (sent[0].route, sent[0].sync.session, sent[0].sync.n) == (b"r1", "s1", 1)
    eventually(lambda: [f for facts in scene.heard(names.SCHEDULER, e.WorkerFacts) for f in facts.workers if f.facts])
    view = scene.workers()["box"]
    assert (view.status, view.gpu_count, view.gpu_name, view.gpu_vram_gb) == ("idle", 1, "SIM", 80.0)
    assert (view.labels, view.cpu_count, view.address) == ({"rack": "r1"}, 8, "10.0.0.7")
    assert view.last_heartbeat and view.connected_at


def test_a_run_that_is_wanted_leaves_in_the_next_sync_and_its_end_reaches_the_scheduler(scene: Scene) -> None:
    worker = scene.add().worker
    scene.tell(c.WantedComplete(fences=()))
    scene.beat(worker)
    eventually(lambda: scene.heard(names.GATEWAY, c.SendToPeer))
    fence = (1 << 40) | 1
    run = c.RunSpec(fence=fence, job_id="j1", attempt=1, argv=("true",))
    scene.tell(c.WantRun(run=run, host=worker.id, lease_seconds=60.0))
    want = eventually(lambda: [m.sync.want[fence] for m in scene.heard(names.GATEWAY, c.SendToPeer) if m.sync.want])[0]
    assert want.spec == run and want.lease_seconds == 60.0
    assert scene.workers()["box"].current_job_ids == ["j1"]
    report = Report(phase="exited", job_id="j1", exit_class="completed", exit_code=0, emptied=True, started_at=1.0)
    scene.beat(worker, n=2, attempts={fence: report})
    ended = eventually(lambda: scene.heard(names.SCHEDULER, e.AttemptExited))[0]
    assert (ended.fence, ended.exit_class, ended.host) == (fence, "completed", worker.id)
    scene.tell(c.ForgetRun(fence=fence, host=worker.id, released=True))
    eventually(lambda: [m for m in scene.heard(names.GATEWAY, c.SendToPeer) if m.sync.ack == (fence,)])


def test_a_drain_outlives_a_restart_and_heartbeats_and_ends_by_undrain(scene: Scene) -> None:
    worker = scene.add().worker
    assert scene.ask(c.DrainWorker(worker="box", by=BOSS)).drained
    scene.registry()
    scene.tell(c.WantedComplete(fences=()))
    scene.beat(worker)
    eventually(lambda: scene.workers()["box"].status == "draining")
    view: WorkerView = scene.ask(c.DrainWorker(worker=worker.id[:6], drained=False, by=BOSS))
    assert (view.status, view.drained) == ("idle", False)
    assert [action for action, _, _ in scene.audit()] == ["worker_added", "worker_drained", "worker_undrained"]


def test_a_rotated_token_adds_a_key_and_with_now_replaces_it(scene: Scene) -> None:
    worker = scene.add().worker
    scene.ask(c.RotateWorkerToken(worker="box", by=BOSS))
    eventually(lambda: scene.allowed() == [f"{worker.id}.1", f"{worker.id}.2"])
    again: WorkerEnrolled = scene.ask(c.RotateWorkerToken(worker="box", now=True, by=BOSS))
    assert again.token == "gyw1_3"
    eventually(lambda: scene.allowed() == [f"{worker.id}.3"])


def test_one_with_a_job_is_deleted_only_by_force_and_its_key_is_void_at_once(scene: Scene) -> None:
    worker = scene.add().worker
    scene.tell(c.WantedComplete(fences=()))
    run = c.RunSpec(fence=(1 << 40) | 1, job_id="j1", attempt=1, argv=("true",))
    scene.tell(c.WantRun(run=run, host=worker.id, lease_seconds=60.0))
    with pytest.raises(WrongState, match="has 1 job"):
        scene.ask(c.RemoveWorker(worker="box", by=BOSS))
    assert scene.ask(c.RemoveWorker(worker="box", force=True, by=BOSS)).id == worker.id
    assert scene.workers() == {} and scene.stored("worker") == []
    eventually(lambda: scene.allowed() == [])
    eventually(lambda: [f for f in scene.heard(names.SCHEDULER, e.WorkerFacts) if f.gone == (worker.id,)])


def test_a_clone_is_refused_and_stands_in_the_audit(scene: Scene) -> None:
    worker = scene.add().worker
    scene.tell(c.WantedComplete(fences=()))
    for n in (1, 2, 3):
        scene.beat(worker, n=n, session="s1", journal="j", life=1)
        scene.beat(worker, n=n, session="s2", journal="k", life=1)
    eventually(lambda: "worker_clone_refused" in [action for action, _, _ in scene.audit()])
    refused = [m.sync.refused for m in scene.heard(names.GATEWAY, c.SendToPeer) if m.sync.refused]
    assert any("another machine or process speaks with this worker's key" in why for why in refused)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (c.AddWorker(name="box"), InvalidInput),
        (c.AddWorker(name=""), InvalidInput),
        (c.AddWorker(name="-x"), InvalidInput),
        (c.AddWorker(name="x", worker_type="eternal"), InvalidInput),
        (c.AddWorker(name="x", labels={"a b": "c"}), InvalidInput),
        (c.AddWorker(name="x", labels={"a": "c" * 200}), InvalidInput),
        (c.DrainWorker(worker="nobody"), NotFound),
        (c.RotateWorkerToken(worker="nobody"), NotFound),
        (c.RemoveWorker(worker="nobody"), NotFound),
        (c.ListWorkers(worker="nobody"), NotFound),
    ],
)
def test_bad_input_gets_a_clear_error_and_changes_nothing(
    scene: Scene, command: Message, error: type[GpuyardError]
) -> None:
    scene.add()
    before = scene.stored("worker")
    with pytest.raises(error):
        scene.ask(command)
    assert scene.stored("worker") == before and len(scene.audit()) == 1


def test_without_zeromq_enrolment_and_rotation_name_the_flag_and_the_rest_works(scene: Scene) -> None:
    scene.add()
    scene.registry(enabled=False)
    for command in (c.AddWorker(name="y"), c.RotateWorkerToken(worker="box")):
        with pytest.raises(WrongState, match="--zmq-bind"):
            scene.ask(command)
    assert scene.ask(c.DrainWorker(worker="box")).drained
    assert scene.ask(c.RemoveWorker(worker="box")).name == "box"


def test_a_gateway_that_is_not_there_is_an_error_and_no_worker(scene: Scene) -> None:
    scene.cast.end(names.GATEWAY)
    with pytest.raises(GpuyardError, match="gateway"):
        scene.add()
    assert scene.workers() == {} and scene.stored("worker") == []


def test_after_a_failed_write_the_asker_hears_so_and_memory_is_as_the_store_has_it(scene: Scene) -> None:
    scene.add()
    real = scene.cast.directory.get(names.STORE)
    assert real is not None
    scene.cast.directory.drop(names.STORE)
    scene.cast.play(
        names.STORE,
        {
            c.Record: StoreFailed("the disk is full"),
            c.GetIdentity: lambda m: _ask(scene, real, m),
            c.LoadRegisters: lambda m: _ask(scene, real, m),
        },
    )
    with pytest.raises(StoreFailed, match="disk is full"):
        scene.ask(c.DrainWorker(worker="box"))
    eventually(lambda: scene.ask(c.Ready()))
    assert not scene.workers()["box"].drained
    scene.cast.end(names.STORE)
    scene.cast.directory.put(names.STORE, real)
    assert scene.ask(c.DrainWorker(worker="box")).drained


def _ask(scene: Scene, real: Any, message: Message) -> Any:
    """Ask the store that stands aside."""
    scene.cast.directory.put("aside", real)
    return scene.cast.directory.ref("aside").ask(message).result(10)


def test_a_scheduler_that_was_rebuilt_is_told_all_workers(scene: Scene) -> None:
    scene.add()
    scene.cast.heard[names.SCHEDULER].clear()
    scene.tell(c.WatchWorkers())
    facts = eventually(lambda: [f for f in scene.heard(names.SCHEDULER, e.WorkerFacts) if not f.partial])[0]
    assert [fact.name for fact in facts.workers] == ["box"]


def test_the_store_says_which_database_it_is(scene: Scene) -> None:
    identity = scene.cast.directory.ref(names.STORE).ask(c.GetIdentity()).result(10)
    scene.cast.directory.ref(names.STORE).tell(c.LoadSnapshot(generation=1))
    loaded: Snapshot = eventually(lambda: scene.heard(names.SCHEDULER, e.SnapshotLoaded))[0].snapshot
    assert (identity.db_id, identity.db_epoch) == (loaded.db_id, loaded.db_epoch)


def test_a_worker_gets_the_secrets_of_its_own_live_runs_and_of_no_others(scene: Scene) -> None:
    asked: list[c.FetchSecrets] = []

    def values(message: Message) -> SecretValues:
        assert isinstance(message, c.FetchSecrets)
        asked.append(message)
        return SecretValues(env={"HF": "value"})

    scene.cast.play(names.SECRETS, {c.FetchSecrets: values})
    one, two = scene.add("one").worker, scene.add("two").worker
    with pytest.raises(Unavailable):
        scene.ask(c.FetchSecrets(fence=9, worker=f"{one.id}.1"))
    run = c.RunSpec(fence=9, job_id="job", attempt=1, argv=("true",), secrets=("hf",), owner=7)
    scene.tell(c.WantRun(run=run, host=one.id, lease_seconds=60.0))
    scene.tell(c.WantedComplete(fences=(9,)))
    # What it says of itself counts for nothing: its run's own order does.
    claimed = c.FetchSecrets(fence=9, owner=1, names=("of_the_admin",), worker=f"{one.id}.1")
    assert scene.ask(claimed).env == {"HF": "value"}
    assert [(m.owner, m.names) for m in asked] == [(7, ("hf",))]
    for stranger in (f"{two.id}.1", "", "nobody"):
        with pytest.raises(NotAllowed):
            scene.ask(c.FetchSecrets(fence=9, worker=stranger))
    with pytest.raises(NotAllowed):
        scene.ask(c.FetchSecrets(fence=10, worker=f"{one.id}.1"))
    scene.tell(c.WantStop(fence=9, host=one.id, reason="cancelled"))
    with pytest.raises(NotAllowed):
        scene.ask(claimed)
    assert len(asked) == 1
