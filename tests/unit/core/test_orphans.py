"""After an older copy of the database came back: no job starts beside a run of it that may live (`model/orphans`)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from msgspec.structs import replace

from gpuyard.actors.model import change, names, orphan_news, policy, runs
from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.commands import ForgetRun, ReleaseJob, StopOrphan, WantStop
from gpuyard.actors.model.errors import NotAllowed, NotFound
from gpuyard.actors.model.events import AttemptExited, RunsAdopted, WorkerFact
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.ids import fence_epoch
from gpuyard.actors.model.job import Target
from gpuyard.actors.model.outbox import Outbox
from gpuyard.actors.model.people import Level, Viewer
from tests.unit.core.fleet_world import FleetWorld
from tests.unit.core.test_workers import codes, reasons
from tests.unit.core.world import MemoryStore

WORKER = Target.WORKER
ANN = Viewer(user_id=2, username="ann", level=Level.RESEARCHER)
LEASE = 1800.0 * 1.01 + 30.0
"""How long the server waits for a run with the usual lease."""


class Yesterday(FleetWorld):
    """Two workers of one GPU; every worker that is heard has settled, unless it is said otherwise."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        for name in ("box", "pod"):
            self.worker(name, gpus=1, orphans={}, settled=True)

    def backup(self) -> MemoryStore:
        return deepcopy(self.store)

    def restore(self, backup: MemoryStore) -> None:
        """An older state comes back; nobody has been heard yet."""
        backup.db_epoch = self.store.db_epoch + 1
        self.store = backup
        for name in self.workers:
            self.workers[name] = _silent(self.workers[name])
        self.live.clear()
        self.yard = self._new_yard()
        self.do(lambda yard, now, out: runs.want_all(yard, out))
        self.tell_facts()
        self.do(orphan_news.look)
        self.tell_workers()
        self.do(policy.start_what_may)

    def tick(self, seconds: float) -> None:
        """Time passes, in which whoever is heard goes on to be."""
        while seconds > 0:
            self._tick(min(seconds, 20.0))
            seconds -= 20.0

    def _tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for name, fact in self.workers.items():
            if fact.orphans is not None:
                self.worker_says(name)
        self.tell_facts()

        def tick(yard: Any, now: Any, out: Outbox) -> None:
            orphan_news.look(yard, now, out)
            policy.start_what_may(yard, now, out)

        self.do(tick)

    def says(self, name: str, *orphans: tuple[int, str], settled: bool = True) -> None:
        cards = (GpuFact(uuid=f"{name}-0", index=0, memory_total=80 * 10**9),)
        self.worker_says(name, state="idle", facts=cards, orphans=dict(orphans), settled=settled)


def _silent(fact: WorkerFact) -> WorkerFact:
    """As the registry tells of it before it is heard."""
    return replace(fact, state="connecting", orphans=None, settled=False, facts=(), observed_at=0.0)


def lost_state(**spec: Any) -> tuple[Yesterday, str, tuple[int, str]]:
    """An older copy has come back in which a job waits; and the run of it that was begun since, by fence."""
    world = Yesterday()
    others = [world.job(1, target=WORKER, max_attempts=1) for _ in range(2)]
    job = world.job(1, target=WORKER, **spec)
    assert world.status(job) == "pending"
    backup = world.backup()
    world.end(others[0])
    orphan = world.fence(job), job
    world.restore(backup)
    for other in others:
        world.end(other)
    return world, job, orphan


class TestWaiting:
    def test_it_waits_until_all_workers_were_heard_and_then_starts_at_once(self) -> None:
        world, job, _ = lost_state()
        reason = reasons(world, job)[0]
        assert reason.code == "Orphan" and "not heard since" in reason.text and "at the latest" in reason.text
        world.says("box")
        assert world.status(job) == "pending" and codes(world, job)[0] == "Orphan"
        assert reasons(world, job)[0].detail == {"host": "pod", "name": "pod", "fence": None}
        world.says("pod")
        assert world.status(job) == "running" and fence_epoch(world.fence(job)) == 2
        assert world.store.settings["orphans"]["before"] == 0, "it is over for good"

    def test_one_that_was_submitted_since_waits_for_nobody(self) -> None:
        world, job, _ = lost_state()
        world.says("box")
        new = world.job(1, target=WORKER)
        assert (world.status(new), world.status(job)) == ("running", "pending")

    def test_one_that_no_worker_may_have_waits_for_none(self) -> None:
        world = Yesterday(gpus=1)
        first, second = world.job(1, target=Target.LOCAL), world.job(1, target=Target.LOCAL)
        backup = world.backup()
        world.restore(backup)
        world.end(first, "lost", None)
        assert world.status(second) == "running"

    def test_a_beat_of_one_that_obeys_the_state_that_is_gone_does_not_count(self) -> None:
        world, job, _ = lost_state()
        world.says("box")
        world.says("pod", settled=False)
        assert world.status(job) == "pending"

    def test_a_worker_that_is_never_heard_again_is_waited_for_as_long_as_its_lease(self) -> None:
        world, job, _ = lost_state()
        world.says("box")
        world.tick(LEASE - 5.0)
        assert world.status(job) == "pending"
        world.tick(10.0)
        assert world.status(job) == "running"

    def test_one_of_the_policy_hold_waits_until_somebody_decides(self) -> None:
        world, job, _ = lost_state(partition_policy="hold")
        world.says("box")
        world.tick(10 * LEASE)
        (reason, *_) = reasons(world, job)
        assert reason.never and f"gpuyard jobs release {job}" in reason.unblock
        world.tell_workers(gone=("pod",))
        world.tick(1.0)
        assert world.status(job) == "running"

    def test_whoever_knows_that_it_does_not_run_there_releases_it_also_over_a_restart(self) -> None:
        world, job, _ = lost_state()
        world.says("box", settled=False)
        busy = world.job(1, target=WORKER)
        assert world.status(busy) == "running"
        world.change(change.release, ReleaseJob(job_id=job))
        assert codes(world, job) == ["WorkersBusy"]
        world.restart()
        assert codes(world, job) == ["WorkersBusy"]
        world.end(busy)
        assert world.status(job) == "running"

    def test_a_restart_does_not_end_the_wait(self) -> None:
        world, job, _ = lost_state()
        world.says("box")
        new = world.job(1, target=WORKER, worker_labels={"none": "has it"})
        world.restart()
        assert codes(world, job)[0] == "Orphan"
        assert world.status(new) == "pending" and "Orphan" not in codes(world, new)

    def test_a_database_that_never_came_back_asks_nobody(self) -> None:
        world = Yesterday()
        for name in world.workers:
            world.workers[name] = _silent(world.workers[name])
        world.restart()
        world.says("box", settled=False)
        assert world.status(world.job(1, target=WORKER)) == "running"

    def test_an_attempt_of_the_older_state_is_never_begun_again(self) -> None:
        """Its host may not have heard of it, and the job may have been given to another one since."""
        world = Yesterday()
        job = world.job(1, target=WORKER)
        fence, backup = world.fence(job), world.backup()
        assert not world.live[fence].started
        world.restore(backup)
        assert world.live[fence].started


class TestOrphans:
    def test_a_job_does_not_start_beside_its_orphan_and_starts_when_that_has_ended(self) -> None:
        world, job, orphan = lost_state()
        world.says("box")
        world.says("pod", orphan)
        world.tick(10 * LEASE)
        (reason, *_) = reasons(world, job)
        assert (reason.code, reason.unblock) == ("Orphan", f"gpuyard workers stop-orphan pod {orphan[0]}")
        assert str(orphan[0]) in reason.text
        world.change(change.release, ReleaseJob(job_id=job))
        assert world.status(job) == "pending", "what is seen to live is not released by hand"
        world.says("pod")
        assert world.status(job) == "running"

    def test_it_is_kept_back_whatever_made_the_orphan(self) -> None:
        world = Yesterday()
        first, second = world.job(1, target=WORKER), world.job(1, target=WORKER)
        waiting = world.job(1, target=WORKER)
        fence = world.fence(first)
        world.says("box", (9_000, waiting))
        world.end(second)
        assert world.status(waiting) == "pending"
        world.says("box", (fence, first))
        assert world.status(waiting) == "running", "a wanted run of this database is no orphan"

    def test_one_on_a_worker_that_falls_silent_is_over_with_its_lease(self) -> None:
        world, job, orphan = lost_state()
        world.says("box")
        world.says("pod", orphan)
        world.registry_says("pod", state="offline", orphans=None)
        world.tick(LEASE - 5.0)
        assert world.status(job) == "pending"
        world.tick(10.0)
        assert world.status(job) == "running"

    def test_an_explicit_stop_is_told_to_its_host_and_stands_in_the_story(self) -> None:
        world, _, orphan = lost_state()
        world.says("pod", orphan)
        out = Outbox("c1")
        assert orphan_news.stop(world.yard, StopOrphan(host="pod", fence=orphan[0]), world.now(), out)
        ((to, order),) = out.tells
        assert to == names.WORKERS and isinstance(order, WantStop)
        assert (order.fence, order.host) == (orphan[0], "pod") and "owner" in order.reason
        assert [event.kind for event in out.events] == ["orphan_stopped"]

    def test_only_an_admin_stops_one_and_only_where_it_is(self) -> None:
        world, _, orphan = lost_state()
        world.says("pod", orphan)
        with pytest.raises(NotAllowed):
            orphan_news.stop(world.yard, StopOrphan(host="pod", fence=orphan[0], by=ANN), world.now(), Outbox())
        for host, fence in (("box", orphan[0]), ("pod", 1), ("gone", 1)):
            with pytest.raises(NotFound):
                orphan_news.stop(world.yard, StopOrphan(host=host, fence=fence), world.now(), Outbox())

    def test_one_on_this_machine_keeps_its_job_back_too_until_its_keeper_says_that_it_has_ended(self) -> None:
        world = Yesterday(gpus=2, local_job_max_concurrent=1)
        first, job = world.job(1, target=Target.LOCAL), world.job(1, target=Target.LOCAL)
        here = RunsAdopted(live=(77,), jobs={77: job, world.fence(first): first})
        world.do(lambda y, n, o: orphan_news.adopted(y, here, n, o))
        world.end(first)
        reason = reasons(world, job)[0]
        assert reason.code == "Orphan" and reason.never and reason.detail["host"] == LOCAL_HOST
        event = AttemptExited(fence=77, exit_class="completed", exit_code=0)
        told = Outbox()
        world.do(lambda y, n, o: runs.exited(y, event, n, o) or told.tells.extend(o.tells))
        assert (names.KEEPER, ForgetRun(fence=77, released=True)) in told.tells, "nobody else confirms its end"
        assert world.status(job) == "running"
