"""Placement on workers (requirement "Worker Dispatch", DESIGN 6 and 8), one sentence a test."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gpuyard.actors.model import ask, change, explain, idle, names, policy, runs
from gpuyard.actors.model.commands import GetPosition, GetStats, ProcessQueue, PurgeRuns, TellPeer, WantRun
from gpuyard.actors.model.commit import Deleted
from gpuyard.actors.model.estimate import forecast
from gpuyard.actors.model.events import AttemptExited, GpuEmptied
from gpuyard.actors.model.gpu import GpuState
from gpuyard.actors.model.job import Target
from gpuyard.actors.model.outbox import Outbox
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.reasons import Reason
from gpuyard.actors.model.views import JobAccepted, JobRefused
from tests.unit.core.fleet_world import FleetWorld

WORKER = Target.WORKER
ANN = Viewer(user_id=2, username="ann", level=Level.RESEARCHER)
LEAD = Viewer(user_id=3, username="lee", level=Level.LEAD)


def reasons(world: FleetWorld, job_id: str) -> list[Reason]:
    return explain.why(world.yard, world.yard.jobs[job_id], world.now())


def codes(world: FleetWorld, job_id: str) -> list[str]:
    return [str(reason.code) for reason in reasons(world, job_id)]


class TestTargets:
    def test_auto_goes_to_a_matching_worker_first_and_to_local_gpus_when_none_has_room(self) -> None:
        world = FleetWorld(gpus=2, local_job_max_concurrent=4)
        world.worker("box", gpus=1)
        first, second = world.job(1), world.job(1)
        assert (world.host(first), world.host(second)) == ("box", "local")
        assert world.store.jobs[second].status == "running"

    def test_auto_runs_here_when_no_worker_has_its_labels(self) -> None:
        world = FleetWorld(gpus=1)
        world.worker("box", labels={"gpu_type": "h100"})
        assert world.host(world.job(1, worker_labels={"gpu_type": "a100*"})) == "local"

    def test_worker_waits_for_one_and_starts_the_moment_that_it_registers(self) -> None:
        world = FleetWorld(gpus=4)
        job = world.job(1, target=WORKER)
        assert codes(world, job) == ["NoMatchingWorker"]
        world.worker("box", gpus=1)
        assert world.host(job) == "box"

    def test_local_stays_here_however_idle_the_workers_are(self) -> None:
        world = FleetWorld(gpus=1)
        world.worker("box")
        first, second = world.job(1, target=Target.LOCAL), world.job(1, target=Target.LOCAL)
        assert world.host(first) == "local"
        assert codes(world, second) == ["LocalJobLimit", "GpusBusy"]

    def test_no_local_limit_binds_a_job_on_a_worker(self) -> None:
        world = FleetWorld(gpus=1, local_job_max_concurrent=1, local_gpu_max_concurrent=1)
        world.worker("box", gpus=4)
        jobs = [world.job(1) for _ in range(5)]
        assert [world.host(job) for job in jobs] == ["box"] * 4 + ["local"]
        assert world.yard.local_gpus_used == 1

    def test_an_auto_job_that_ends_on_a_worker_gives_back_no_local_gpu(self) -> None:
        world = FleetWorld(gpus=2, local_job_max_concurrent=2)
        world.worker("box", gpus=1)
        away, here = world.job(1), world.job(1)
        world.end(away)
        assert world.yard.local_gpus_used == 1 and world.yard.gpus_of_user[1] == 1
        world.end(here)
        assert world.yard.local_gpus_used == 0


class TestWhichWorker:
    def test_every_label_must_match_as_a_glob_and_case_counts(self) -> None:
        world = FleetWorld()
        wanted = {"gpu_type": "a100*", "location": "us-*"}
        world.worker("one", labels={"gpu_type": "a100-80", "location": "eu-1"})
        world.worker("two", labels={"gpu_type": "A100", "location": "us-1"})
        job = world.job(1, target=WORKER, worker_labels=wanted)
        assert codes(world, job) == ["NoMatchingWorker"]
        world.worker("three", labels={"gpu_type": "a100", "location": "us-1", "more": "x"})
        assert world.host(job) == "three"

    def test_an_idle_one_goes_before_a_tighter_busy_one(self) -> None:
        world = FleetWorld()
        world.worker("small", gpus=2)
        first = world.job(1, target=WORKER)
        world.worker("big", gpus=8)
        second = world.job(1, target=WORKER)
        assert (world.host(first), world.host(second)) == ("small", "big")

    def test_among_idle_ones_the_tightest_fit_then_the_order_of_registration(self) -> None:
        world = FleetWorld()
        for name, gpus in (("wide", 8), ("first", 2), ("second", 2)):
            world.worker(name, gpus=gpus)
        assert [world.host(world.job(2, target=WORKER)) for _ in range(3)] == ["first", "second", "wide"]

    def test_a_job_may_ask_for_memory_on_each_gpu_here_and_there(self) -> None:
        world = FleetWorld(gpus=1)
        world.worker("small", memory_gb=24)
        world.worker("large", memory_gb=141)
        assert world.host(world.job(1, target=WORKER, gpu_memory_gb=48)) == "large"
        assert world.host(world.job(1, target=Target.LOCAL, gpu_memory_gb=80)) == "local"
        refused = world.submit(1, target=Target.LOCAL, gpu_memory_gb=96)
        assert isinstance(refused, JobRefused) and refused.error == "too_big"
        assert "1 GPU of at least 96 GB" in refused.reason

    def test_device_ids_are_those_of_the_server_and_do_not_count_on_a_worker(self) -> None:
        world = FleetWorld(gpus=4)
        world.worker("box", gpus=2)
        job = world.job(2, target=WORKER, device_ids=(2, 3))
        assert world.host(job) == "box" and world.gpus_of(job) == [0, 1]

    def test_cpu_jobs_go_to_workers_too_as_many_as_they_have_cores(self) -> None:
        world = FleetWorld(local_cpu_job_max_concurrent=1)
        world.worker("box", gpus=0, cpu_count=2)
        jobs = [world.job(0, target=WORKER) for _ in range(3)]
        assert [world.status(job) for job in jobs] == ["running", "running", "pending"]
        assert codes(world, jobs[2]) == ["WorkersBusy"]
        assert world.host(world.job(0)) == "local"

    def test_max_jobs_binds_gpu_and_cpu_jobs_together(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=8, max_jobs=2)
        jobs = [world.job(gpus, target=WORKER) for gpus in (1, 0, 1)]
        assert [world.status(job) for job in jobs] == ["running", "running", "pending"]
        assert "box runs 2 of at most 2 jobs" in reasons(world, jobs[2])[0].text
        world.end(jobs[0])
        assert world.host(jobs[2]) == "box"

    def test_an_ephemeral_worker_is_given_one_job_in_its_life(self) -> None:
        world = FleetWorld()
        world.worker("once", gpus=4, ephemeral=True)
        first, second = world.job(1, target=WORKER), world.job(1, target=WORKER)
        assert world.running() == [first]
        world.end(first)
        assert world.status(second) == "pending"
        assert codes(world, second) == ["WorkersOffline"]
        assert "has had its one job" in reasons(world, second)[0].text


class TestOrder:
    def test_priority_then_first_come_among_those_that_wait_for_a_worker(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=1)
        running = world.job(1, target=WORKER)
        older = world.job(1, by=ANN, target=WORKER)
        younger = world.job(1, by=ANN)
        lead = world.job(1, by=LEAD, target=WORKER, worker_labels={})
        for expected in (lead, older, younger):
            world.end(running)
            assert world.running() == [expected]
            running = expected

    def test_a_job_that_fits_no_worker_hides_nobody_behind_it(self) -> None:
        world = FleetWorld()
        for i in range(50):
            world.job(1, target=WORKER, worker_labels={"rack": f"r{i}"})
        last = world.job(1, target=WORKER)
        world.worker("box")
        assert world.running() == [last]

    def test_labels_that_no_worker_has_cost_no_look_at_a_pass(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=1)
        world.worker("other", gpus=1, labels={"rack": "r7"})
        waiting = [world.job(1, target=WORKER, worker_labels={"rack": f"x{i}"}) for i in range(200)]
        assert len(list(world.yard.shapes.lanes(world.yard.pool(world.yard.jobs[waiting[0]])))) <= 2, "they are parked"
        world.worker_says("other", labels={"rack": "x150"})
        assert world.running() == [waiting[150]]

    def test_user_max_gpus_counts_gpus_here_and_there(self) -> None:
        world = FleetWorld(gpus=4, local_job_max_concurrent=4, user_max_gpus=3)
        world.worker("box", gpus=2)
        first, second, third = world.job(2, by=ANN), world.job(1, by=ANN), world.job(1, by=ANN)
        assert (world.host(first), world.host(second)) == ("box", "local")
        assert codes(world, third) == ["UserLimit"]
        assert world.host(world.job(1, by=LEAD)) == "local"
        world.end(first)
        assert world.host(third) == "box"

    def test_a_persons_gpu_limit_binds_no_cpu_job_even_when_it_was_lowered_below_what_is_held(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=2)
        world.job(2, by=ANN, target=WORKER)
        world.limit(user_max_gpus=1)
        assert world.host(world.job(0, by=ANN, target=WORKER)) == "box"


class TestReservation:
    def test_a_big_job_gets_its_worker_although_small_ones_keep_coming(self) -> None:
        world = FleetWorld(reserve_after_seconds=300)
        world.worker("box", gpus=4)
        small = [world.job(1, target=WORKER) for _ in range(4)]
        big = world.job(4, target=WORKER)
        for round_ in range(100):
            world.clock.advance(60)
            world.worker_says("box")
            small.append(world.job(1, target=WORKER))
            running = [job for job in small if world.status(job) == "running"]
            if running:
                world.end(running[0])
            if world.status(big) == "running":
                assert round_ <= 9
                return
        raise AssertionError("the big job starved")

    def test_gpus_of_one_worker_are_kept_and_those_of_the_others_are_not(self) -> None:
        world = FleetWorld(reserve_after_seconds=0)
        for name in ("one", "two"):
            world.worker(name, gpus=2)
        first, second = world.job(1, target=WORKER), world.job(1, target=WORKER)
        assert {world.host(first), world.host(second)} == {"one", "two"}
        big = world.job(2, target=WORKER)
        next_one = world.job(1, target=WORKER)
        assert world.status(big) == "pending" and world.host(next_one) == "two"
        last = world.job(1, target=WORKER)
        assert codes(world, last) == ["ReservedForJob"]
        assert reasons(world, last)[0].blocking_jobs == (big,)

    def test_pools_that_share_no_worker_keep_their_own(self) -> None:
        world = FleetWorld(reserve_after_seconds=0)
        world.worker("a", gpus=2, labels={"type": "a100"})
        world.worker("h", gpus=2, labels={"type": "h100"})
        a, h = ({"type": "a100"}, {"type": "h100"})
        for labels in (a, h):
            world.job(1, target=WORKER, worker_labels=labels)
            world.job(2, target=WORKER, worker_labels=labels)
        assert codes(world, world.job(1, target=WORKER, worker_labels=h)) == ["ReservedForJob"]
        assert codes(world, world.job(1, target=WORKER, worker_labels=a)) == ["ReservedForJob"]

    def test_a_job_that_ends_in_time_may_use_the_kept_gpus(self) -> None:
        world = FleetWorld(reserve_after_seconds=0)
        world.worker("box", gpus=2)
        world.job(1, target=WORKER, time_limit=1000)
        world.job(2, target=WORKER)
        assert codes(world, world.job(1, target=WORKER, time_limit=2000)) == ["ReservedForJob"]
        assert world.status(world.job(1, target=WORKER, time_limit=500)) == "running"


class TestComingAndGoing:
    def test_a_drained_worker_gets_nothing_and_an_undrained_one_the_next_job_at_once(self) -> None:
        world = FleetWorld()
        world.worker("box", state="draining")
        job = world.job(1, target=WORKER)
        reason = reasons(world, job)[0]
        assert (str(reason.code), reason.unblock, reason.never) == (
            "WorkersOffline",
            "gpuyard workers undrain box",
            True,
        )
        world.registry_says("box", state="idle")
        assert world.host(job) == "box"

    def test_an_offline_worker_gets_nothing_until_it_is_heard_again(self) -> None:
        world = FleetWorld()
        world.worker("box", state="offline")
        job = world.job(1, target=WORKER)
        assert codes(world, job) == ["WorkersOffline"]
        assert "box is offline, last heard at 20" in reasons(world, job)[0].text
        assert not reasons(world, job)[0].never
        world.worker_says("box", state="idle")
        assert world.host(job) == "box"

    def test_nothing_is_placed_on_facts_older_than_some_heartbeats(self) -> None:
        world = FleetWorld()
        world.worker("box", fresh_seconds=25.0)
        world.clock.advance(26)
        job = world.job(1, target=WORKER)
        assert "box has not been heard for 26 s" in reasons(world, job)[0].text
        world.worker_says("box")
        assert world.host(job) == "box"

    def test_one_that_takes_no_work_says_why(self) -> None:
        world = FleetWorld()
        world.worker("box", takes_work=False, why="its version 0.1.0 is too old")
        reason = reasons(world, world.job(1, target=WORKER))[0]
        assert "its version 0.1.0 is too old" in reason.text and reason.never

    def test_a_worker_that_arrives_lifts_the_hold_that_a_cancel_left(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=1)
        running, waiting = world.job(1, target=WORKER), world.job(1, target=WORKER)
        world.cancel(running)
        world.end(running, "signal:TERM", 143)
        assert world.yard.processing_held and codes(world, waiting)[0] == "ProcessingHeld"
        world.worker_says("box")
        assert world.status(waiting) == "pending", "a heartbeat is no arrival"
        world.worker("new", gpus=1)
        assert world.status(waiting) == "running"

    def test_a_job_waits_for_a_worker_that_is_enrolled_but_was_never_heard(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=0, state="connecting", labels={"rack": "r1"})
        job = world.job(64, target=WORKER, worker_labels={"rack": "r*"})
        assert codes(world, job) == ["WorkersOffline"]

    def test_a_worker_that_shrinks_makes_its_jobs_unplaceable_and_says_so(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=2)
        running = world.job(2, target=WORKER)
        waiting = world.job(2, target=WORKER)
        facts = world.workers["box"].facts
        world.worker_says("box", facts=facts[:1])
        world.end(running)
        assert codes(world, waiting) == ["TooBig"]
        world.worker_says("box", facts=facts)
        assert world.status(waiting) == "running"


class TestReasons:
    def test_the_nearest_miss_is_named(self) -> None:
        world = FleetWorld()
        world.worker("far", gpus=1, labels={"gpu_type": "t4"})
        world.worker("near", gpus=2, labels={"gpu_type": "h100", "location": "us-1"})
        world.worker("wide", gpus=8, labels={})
        job = world.job(2, target=WORKER, worker_labels={"gpu_type": "a100*", "location": "us-*"})
        reason = reasons(world, job)[0]
        assert reason.text == "No worker fits it; the nearest is near: its gpu_type is h100, not a100*."
        assert reason.never and reason.unblock.startswith("gpuyard workers add NAME --label gpu_type=a100*")
        few = world.job(4, target=WORKER, worker_labels={"location": "us-*"})
        assert "the nearest is near: it has 2 of the 4 GPUs" in reasons(world, few)[0].text

    def test_no_worker_at_all(self) -> None:
        world = FleetWorld()
        reason = reasons(world, world.job(1, target=WORKER))[0]
        assert reason.text == "No worker is registered." and reason.never

    def test_busy_ones_say_whose_jobs_stand_in_the_way_and_cancelling_these_lets_it_in(self) -> None:
        world = FleetWorld()
        world.worker("one", gpus=4)
        world.worker("two", gpus=4)
        jobs = [world.job(gpus, target=WORKER) for gpus in (3, 2, 2)]
        waiting = world.job(4, target=WORKER)
        reason = reasons(world, waiting)[0]
        assert str(reason.code) == "WorkersBusy"
        assert "one has 1 of 4 GPUs free" in reason.text and not reason.never
        assert reason.unblock == f"gpuyard jobs cancel {jobs[0]} && gpuyard queue process"
        world.cancel(jobs[0])
        world.end(jobs[0], "signal:TERM", 143)
        world.change(change.process, ProcessQueue())
        assert world.host(waiting) == "one"

    def test_gpus_of_a_worker_that_are_out_of_service_are_named_with_the_command_that_helps(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=2)
        cards = world.workers["box"].facts
        first, second = world.job(1, target=WORKER), world.job(1, target=WORKER)
        world.end(second)
        fault = msgspec.structs.replace(cards[1], fault="Xid 79", clearable=True)
        world.worker_says("box", facts=(cards[0], fault))
        waiting = world.job(1, target=WORKER)
        (reason,) = reasons(world, waiting)
        assert "box has 0 of 2 GPUs free" in reason.text and "GPU box:1 is quarantined: Xid 79" in reason.text
        assert "`gpuyard gpus clear box:1`" in reason.text
        assert first in reason.unblock, "a job whose end would help is named first"
        world.end(first)
        assert world.status(waiting) == "running"
        world.end(waiting)
        two = world.job(2, target=WORKER)
        (reason,) = reasons(world, two)
        assert (reason.code, reason.unblock, reason.never) == ("WorkersBusy", "gpuyard gpus clear box:1", True)
        world.worker_says("box", facts=cards)
        assert world.status(two) == "running"

    def test_an_auto_job_hears_of_both_sides_and_gives_up_only_when_both_do(self) -> None:
        world = FleetWorld(gpus=1)
        world.worker("box", gpus=2)
        world.job(2), world.job(1)
        waiting = world.job(2)
        assert codes(world, waiting)[0] == "WorkersBusy" and "TooBig" in codes(world, waiting)
        assert not any(reason.never for reason in reasons(world, waiting)), "the worker will be free again"
        world.registry_says("box", state="draining")
        assert all(r.never for r in reasons(world, waiting) if str(r.code) in ("TooBig", "WorkersOffline"))

    def test_more_gpus_than_any_host_has_is_refused_at_submit(self) -> None:
        world = FleetWorld(gpus=2)
        world.worker("box", gpus=4)
        for target, most in ((Target.AUTO, 4), (WORKER, 4), (Target.LOCAL, 2)):
            refused = world.submit(5, target=target)
            assert isinstance(refused, JobRefused) and refused.error == "too_big" and str(most) in refused.reason
        assert isinstance(world.submit(4), JobAccepted)
        assert isinstance(world.submit(4, target=Target.LOCAL), JobRefused)

    def test_a_worker_job_is_never_refused_as_too_big_while_a_workers_size_is_unknown(self) -> None:
        world = FleetWorld(gpus=1)
        assert isinstance(world.submit(64, target=WORKER), JobAccepted)
        world.worker("new", gpus=0, state="connecting")
        assert isinstance(world.submit(64), JobAccepted)
        world.registry_says("new", state="offline", observed_at=float("-inf"))
        assert isinstance(world.submit(64, target=WORKER), JobAccepted), "it is just slow to start"

    def test_no_wait_and_dry_run_look_at_workers_too(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=1)
        dry = world.submit(1, target=WORKER, dry_run=True)
        assert isinstance(dry, JobAccepted)
        assert (dry.status, dry.allocated_worker_id, dry.allocated_gpus) == ("running", "box", [0])
        taken = world.submit(1, target=WORKER, no_wait=True)
        assert isinstance(taken, JobAccepted) and taken.allocated_worker_id == "box"
        refused = world.submit(1, target=WORKER, no_wait=True)
        assert isinstance(refused, JobRefused) and refused.error == "no_capacity"


class TestLosing:
    def lose(self, world: FleetWorld, job: str) -> None:
        fence = world.fence(job)
        del world.live[fence]
        event = AttemptExited(fence=fence, exit_class="lost", host="box", message="worker went offline")
        world.do(lambda y, n, o: runs.exited(y, event, n, o))

    def test_attempts_left_it_is_queued_again_at_its_place_none_left_it_has_failed(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=1, at_once=False)
        job = world.job(1, target=WORKER, max_attempts=2)
        first = world.fence(job)
        self.lose(world, job)
        assert world.status(job) == "pending" and world.store.jobs[job].error_message == "worker went offline"
        world.do(lambda y, n, o: runs.emptied(y, GpuEmptied(fence=first, uuids=("box-0",)), n, o))
        world.clock.advance(6)
        world.do(policy.start_what_may)
        assert world.status(job) == "running" and world.fence(job) > first
        self.lose(world, job)
        stored = world.store.jobs[job]
        assert (stored.status, stored.exit_class, stored.error_message) == ("failed", "lost", "worker went offline")

    def test_the_gpus_of_a_lost_run_are_handed_out_only_when_the_worker_says_they_are_empty(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=1, at_once=False)
        job = world.job(1, target=WORKER, max_attempts=1)
        fence = world.fence(job)
        self.lose(world, job)
        waiting = world.job(1, target=WORKER)
        world.worker_says("box")
        assert world.status(waiting) == "pending"
        assert world.yard.ledger_of("box").state("box-0") is GpuState.RELEASING
        world.do(lambda y, n, o: runs.emptied(y, GpuEmptied(fence=fence, uuids=("box-0",)), n, o))
        assert world.host(waiting) == "box"

    def test_a_worker_that_is_deleted_holds_nothing_any_more(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=2, at_once=False)
        job = world.job(1, target=WORKER, max_attempts=1)
        world.tell_workers(gone=("box",))
        assert world.status(job) == "running", "its end is told by its own event"
        self.lose(world, job)
        assert not world.store.holds and not world.yard.attempts

    def test_a_run_whose_worker_is_silent_is_shown_as_unreachable_and_stays_running(self) -> None:
        world = FleetWorld()
        world.worker("box")
        job = world.job(1, target=WORKER)
        world.registry_says("box", state="offline", unreachable=(world.fence(job),))
        entry = ask.entry(world.yard, world.yard.jobs[job], world.now())
        assert (entry.status, entry.phase, entry.worker_id, entry.provider) == (
            "running",
            "unreachable",
            "box",
            "worker",
        )

    def test_a_restart_restores_holds_and_runs_by_host(self) -> None:
        world = FleetWorld(gpus=1, local_job_max_concurrent=2)
        world.worker("box", gpus=2, at_once=False)
        there, here = world.job(2, target=WORKER), world.job(1, target=Target.LOCAL)
        waiting = world.job(1, target=WORKER)
        world.restart()
        assert world.live[world.fence(there)].host == "box" and world.live[world.fence(here)].host == "local"
        assert world.status(waiting) == "pending"
        fence = world.fence(there)
        world.end(there)
        world.restart()
        assert world.status(waiting) == "pending", "it is still being released"
        world.do(lambda y, n, o: runs.emptied(y, GpuEmptied(fence=fence, uuids=("box-0", "box-1")), n, o))
        assert world.host(waiting) == "box"

    def test_simulated_gpus_of_a_run_that_ended_before_the_restart_are_free_once_the_worker_is_known(self) -> None:
        world = FleetWorld()
        world.worker("box", gpus=1, at_once=False)
        job = world.job(1, target=WORKER)
        world.end(job)
        world.workers["box"] = msgspec.structs.replace(world.workers["box"], at_once=True)
        waiting = world.job(1, target=WORKER)
        assert world.status(waiting) == "pending"
        world.restart()
        assert world.host(waiting) == "box"


class TestTold:
    @pytest.mark.parametrize(
        ("spec", "lease"),
        [({}, 1800.0), ({"lease_seconds": 60.0}, 60.0), ({"partition_policy": "hold", "lease_seconds": 60.0}, None)],
    )
    def test_a_worker_is_told_how_long_the_run_may_live_without_word(self, spec: dict[str, Any], lease: Any) -> None:
        world = FleetWorld()
        world.worker("box")
        want: WantRun = world.live[world.fence(world.job(1, target=WORKER, checkpoint_signal="SIGUSR1", **spec))]
        assert (want.host, want.lease_seconds, want.checkpoint_signal) == ("box", lease, "SIGUSR1")

    def test_statistics_count_workers_by_state_and_their_jobs_apart(self) -> None:
        world = FleetWorld(gpus=1)
        for name, state in (("a", "idle"), ("b", "busy"), ("c", "offline"), ("d", "draining"), ("e", "connecting")):
            world.worker(name, gpus=1, state=state)
        world.job(1, target=WORKER), world.job(1, target=Target.LOCAL)
        world.job(1, target=WORKER), world.job(1, target=WORKER)
        stats = ask.stats(world.yard, GetStats(), world.now())
        assert (stats.workers.total_workers, stats.workers.idle_workers, stats.workers.busy_workers) == (5, 1, 1)
        assert (stats.workers.offline_workers, stats.workers.draining_workers) == (1, 1)
        assert stats.workers.connecting_workers == 1
        assert (stats.workers.running_jobs, stats.workers.pending_jobs) == (2, 1)
        assert (stats.local.running_jobs, stats.total_running, stats.total_pending) == (1, 3, 1)

    def test_the_gpus_of_workers_are_listed_with_their_worker(self) -> None:
        world = FleetWorld(gpus=1)
        world.worker("box", gpus=2)
        job = world.job(1, target=WORKER)
        page = ask.gpus(world.yard)
        assert [gpu.worker for gpu in page.gpus] == [None]
        assert [(gpu.worker, gpu.fact.index, gpu.state, gpu.job_id) for gpu in page.remote] == [
            ("box", 0, "held", job),
            ("box", 1, "free", None),
        ]

    def test_coming_going_and_draining_are_events_and_beats_are_not(self) -> None:
        world = FleetWorld()
        world.worker("box", state="connecting")
        world.worker_says("box", state="idle")
        world.worker_says("box", state="busy")
        world.worker_says("box")
        world.registry_says("box", state="offline")
        world.tell_workers(gone=("box",))
        told = [(event.kind, event.data.get("state")) for event in world.store.events]
        assert told == [
            ("worker_added", "connecting"),
            ("worker_changed", "online"),
            ("worker_changed", "offline"),
            ("worker_removed", None),
        ]


class TestEstimate:
    def start(self, world: FleetWorld, job: str) -> Any:
        view = ask.position(world.yard, GetPosition(job_id=job), world.now())
        return None if view.forecast is None else forecast(view.forecast, {})

    def test_a_job_starts_when_enough_gpus_of_one_matching_worker_are_free(self) -> None:
        world = FleetWorld()
        world.worker("one", gpus=2, labels={"t": "a"})
        world.worker("two", gpus=2, labels={"t": "b"})
        for label, limit in (("a", 100.0), ("b", 900.0)):
            world.job(2, target=WORKER, worker_labels={"t": label}, time_limit=limit)
        anywhere = world.job(2, target=WORKER, time_limit=50.0)
        assert self.start(world, anywhere) == (100, 100, 100)
        assert self.start(world, world.job(1, target=WORKER, time_limit=10.0)) == (150, 150, 150), "behind the first"
        picky = world.job(2, target=WORKER, worker_labels={"t": "b"})
        assert self.start(world, picky) == (960, 960, 960), "those before it are taken to fit wherever it does"

    def test_auto_counts_the_servers_own_gpus_too(self) -> None:
        world = FleetWorld(gpus=1)
        world.worker("one", gpus=1)
        world.job(1, time_limit=900.0), world.job(1, target=Target.LOCAL, time_limit=300.0)
        assert self.start(world, world.job(1)) == (300, 300, 300)

    def test_nobody_knows_while_no_worker_that_fits_is_there(self) -> None:
        world = FleetWorld()
        world.worker("one", state="offline")
        assert self.start(world, world.job(1, target=WORKER)) is None

    def test_cpu_jobs_wait_for_a_core_of_the_worker(self) -> None:
        world = FleetWorld()
        world.worker("one", gpus=1, cpu_count=1)
        world.job(1, target=WORKER, time_limit=900.0), world.job(0, target=WORKER, time_limit=60.0)
        assert self.start(world, world.job(0, target=WORKER)) == (60, 60, 60)


def test_a_workers_gpus_that_stand_idle_while_a_job_could_use_them_are_counted() -> None:
    world = FleetWorld()
    world.worker("box", gpus=3)
    world.worker("other", gpus=5, labels={"t": "x"})
    running = world.job(2, target=WORKER, worker_labels={"t": "*"})
    for seconds in (0.0, 10.0):
        world.clock.advance(seconds)
        idle.note(world.yard, world.now())
    assert world.yard.gpu_idle_seconds == 0, "nobody waits"
    world.job(4, target=WORKER, worker_labels={"t": "*"})
    world.cancel(running)
    world.end(running, "signal:TERM", 143)
    for seconds in (0.0, 10.0):
        world.clock.advance(seconds)
        idle.note(world.yard, world.now())
    assert world.yard.gpu_idle_seconds == 50, "five that the held job could use, not the three of the other worker"


def test_what_a_deleted_job_left_goes_here_and_on_the_workers_that_it_was_on() -> None:
    world = FleetWorld()
    out = Outbox()
    result = Deleted(job_ids=("j",), by_status={"failed": 1}, fences=(1, 2, 3, 4), hosts={2: "box", 3: "ash", 4: "box"})
    change.deleted(world.yard, result, out)
    assert out.tells == [
        (names.KEEPER, PurgeRuns(fences=(1,))),
        (names.GATEWAY, TellPeer(user_id="ash", to=names.KEEPER, message=PurgeRuns(fences=(3,)))),
        (names.GATEWAY, TellPeer(user_id="box", to=names.KEEPER, message=PurgeRuns(fences=(2, 4)))),
    ]
