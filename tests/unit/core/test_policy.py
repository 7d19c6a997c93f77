"""The scheduling rules of the requirement and of DESIGN 6, one sentence a test."""

from __future__ import annotations

from typing import Any

import pytest

from gpuyard.actors.model import change, explain, policy, reviews
from gpuyard.actors.model.commands import ApproveJob, CancelJob, HoldJob, ProcessQueue, SetPriority, SubmitJob
from gpuyard.actors.model.errors import InvalidInput, NotActive, NotAllowed, WrongState
from gpuyard.actors.model.job import JobSpec, Target
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.reasons import ReasonCode
from gpuyard.actors.model.submit import USER_MAX_PENDING, submit_one
from gpuyard.actors.model.views import JobAccepted, JobRefused
from tests.unit.core.world import World

RESEARCHER = Viewer(user_id=2, username="ann", level=Level.RESEARCHER)
LEAD = Viewer(user_id=3, username="lee", level=Level.LEAD)


def codes(world: World, job_id: str) -> list[str]:
    return [str(reason.code) for reason in explain.why(world.yard, world.yard.jobs[job_id], world.now())]


def test_two_jobs_of_two_gpus_run_at_once_on_disjoint_gpus() -> None:
    world = World(gpus=4, local_job_max_concurrent=4)
    first, second = world.job(2), world.job(2)
    assert sorted(world.gpus_of(first) + world.gpus_of(second)) == [0, 1, 2, 3]


def test_by_default_one_local_gpu_job_runs_at_a_time() -> None:
    world = World()
    first, second = world.job(), world.job()
    assert world.running() == [first]
    assert codes(world, second) == ["LocalJobLimit"]
    world.end(first)
    assert world.running() == [second]


def test_higher_levels_go_first_and_equals_go_in_order_of_submission() -> None:
    world = World()
    world.job()
    young = world.job(by=RESEARCHER)
    younger = world.job(by=RESEARCHER)
    lead = world.job(by=LEAD)
    now = world.now()
    assert [world.yard.position(world.yard.jobs[j], now) for j in (lead, young, younger)] == [1, 2, 3]


def test_waiting_gives_a_boost_per_threshold_and_never_more_than_39() -> None:
    world = World()
    world.job()
    old = world.job(by=RESEARCHER)
    world.clock.advance(3600)
    lead = world.job(by=LEAD)
    assert world.yard.effective(world.yard.jobs[old], world.now()) == 20
    assert world.yard.position(world.yard.jobs[old], world.now()) == 1, "equal priority: the older goes first"
    world.clock.advance(100 * 3600)
    assert world.yard.effective(world.yard.jobs[old], world.now()) == 39
    assert world.yard.position(world.yard.jobs[lead], world.now()) == 2


def test_cpu_jobs_are_bound_by_no_gpu_limit() -> None:
    world = World(gpus=1, local_cpu_job_max_concurrent=2)
    world.job(1)
    cpu = [world.job(0) for _ in range(3)]
    assert set(world.running()) >= set(cpu[:2])
    assert codes(world, cpu[2]) == ["LocalJobLimit"]


def test_sixty_jobs_of_a_user_at_the_limit_hide_nobody() -> None:
    world = World(gpus=4, local_job_max_concurrent=4, user_max_gpus=1)
    for _ in range(60):
        world.job(by=RESEARCHER)
    other = world.job(by=LEAD)
    assert other in world.running()
    assert len(world.running()) == 2


def test_a_job_prefers_its_device_ids_or_waits_for_them() -> None:
    world = World(gpus=4, local_job_max_concurrent=4)
    first = world.job(1, device_ids=(2,))
    second = world.job(1, device_ids=(2,))
    third = world.job(1, device_ids=(2,), any_gpu=True)
    assert world.gpus_of(first) == [2]
    assert codes(world, second) == ["DeviceIdsBusy"]
    assert world.gpus_of(third) == [0]
    assert world.gpus_of(world.job(2, device_ids=(3,))) == [1, 3], "preferring too few falls back to any"


def test_more_preferred_devices_than_needed_means_some_of_them() -> None:
    world = World(gpus=4, local_job_max_concurrent=4)
    world.job(1, device_ids=(1,))
    assert world.gpus_of(world.job(2, device_ids=(1, 2, 3))) == [2, 3]


def test_a_gpu_that_somebody_else_uses_is_not_handed_out_and_the_reason_names_pid_and_memory() -> None:
    world = World(gpus=2, local_job_max_concurrent=2)
    world.foreign(0, 4242)
    assert world.gpus_of(world.job(1)) == [1]
    waiting = world.job(1)
    reason = explain.why(world.yard, world.yard.jobs[waiting], world.now())[0]
    assert reason.code is ReasonCode.FOREIGN_PROCESS
    assert "4242" in reason.text and "5.0 GiB" in reason.text
    world.foreign(0)
    assert waiting in world.running()


def test_facts_older_than_two_seconds_hand_out_nothing() -> None:
    world = World(gpus=2, at_once=False)
    world.clock.advance(2.5)
    job = world.job(1)
    assert codes(world, job) == ["GpusBusy"]
    world.tell_facts()
    assert world.running() == [job]


def test_a_gpu_is_free_only_once_it_is_empty_but_the_slot_is_free_at_the_end() -> None:
    world = World(gpus=2, at_once=False)
    first, second, third = world.job(2), world.job(2), world.job(0)
    fence = world.fence(first)
    assert third in world.running()
    world.end(first)
    assert world.status(first) == "completed"
    assert codes(world, second) == ["GpusBusy"]
    world.empty(fence)
    assert second in world.running()


class TestReservation:
    def test_a_big_job_starts_in_bounded_time_although_small_ones_keep_coming(self) -> None:
        world = World(gpus=4, local_job_max_concurrent=8)
        small = [world.job(1) for _ in range(4)]
        big = world.job(4)
        for round_ in range(100):
            world.clock.advance(60)
            small.append(world.job(1))
            running = [job for job in small if world.status(job) == "running"]
            if running:
                world.end(running[0])
            if world.status(big) == "running":
                assert round_ <= 9, "300 s until the reservation, then one small job a minute ends"
                return
        raise AssertionError("the big job starved")

    def test_it_binds_only_those_behind_and_says_for_whom_gpus_are_kept(self) -> None:
        world = World(gpus=2, local_job_max_concurrent=8, reserve_after_seconds=0)
        first = world.job(1, by=RESEARCHER)
        big = world.job(2, by=RESEARCHER)
        behind = world.job(1, by=RESEARCHER)
        assert codes(world, behind) == ["ReservedForJob"]
        assert world.job(1, by=LEAD) in world.running(), "a higher priority is not bound"
        assert world.running()[0] == first and world.status(big) == "pending"

    def test_a_job_that_ends_in_time_may_use_the_kept_gpus(self) -> None:
        world = World(gpus=2, local_job_max_concurrent=8, reserve_after_seconds=0)
        world.job(1, time_limit=1000)
        world.job(2)
        too_long = world.job(1, time_limit=2000)
        short = world.job(1, time_limit=500)
        assert world.status(short) == "running"
        assert world.status(too_long) == "pending"

    def test_nobody_backfills_when_an_end_is_unknown(self) -> None:
        world = World(gpus=2, local_job_max_concurrent=8, reserve_after_seconds=0)
        world.job(1)
        world.job(2)
        assert world.status(world.job(1, time_limit=1)) == "pending"

    def test_nothing_is_kept_for_a_job_that_the_host_can_never_serve(self) -> None:
        world = World(gpus=2, local_job_max_concurrent=8, reserve_after_seconds=0)
        world.job(1)
        big = world.job(2)
        world.limit(local_gpu_max_concurrent=1)
        assert world.status(big) == "pending"
        world.limit(local_gpu_max_concurrent=2, user_max_gpus=1)
        assert world.status(world.job(1, by=RESEARCHER)) == "running"


class TestCancel:
    def test_cancelling_a_run_releases_but_starts_nothing_until_the_queue_is_processed(self) -> None:
        world = World()
        first, second = world.job(), world.job()
        answer = world.cancel(first)
        assert (answer.status, answer.phase, answer.processing_held) == ("running", "stopping", True)
        world.end(first, "cancelled", 143)
        assert world.status(first) == "cancelled"
        assert world.running() == []
        assert codes(world, second)[0] == "ProcessingHeld"
        world.change(change.process, ProcessQueue())
        assert world.running() == [second]

    @pytest.mark.parametrize("lift", ["submit", "limits", "priority", "release", "approve"])
    def test_whatever_asks_for_work_to_start_lifts_the_hold(self, lift: str) -> None:
        world = World(local_job_max_concurrent=2)
        first = world.job(4)
        second, held = world.job(4), world.job(4)
        blocked = world.job(4, requires_approval=True)
        world.change(change.hold, HoldJob(job_id=held))
        world.cancel(first)
        world.end(first, "cancelled", 143)
        if lift == "submit":
            world.job(4)
        elif lift == "limits":
            world.limit(local_job_max_concurrent=3)
        elif lift == "priority":
            world.change(change.set_priority, SetPriority(job_id=second, priority=40))
        elif lift == "release":
            from gpuyard.actors.model.commands import ReleaseJob

            world.change(change.release, ReleaseJob(job_id=held))
        else:
            world.change(reviews.approve, ApproveJob(job_id=blocked))
        assert world.running() == [second]

    def test_a_dry_run_a_refusal_and_a_hold_do_not_lift_it(self) -> None:
        world = World()
        first, second = world.job(4), world.job(4)
        world.cancel(first)
        world.end(first, "cancelled", 143)
        assert isinstance(world.submit(4, dry_run=True), JobAccepted)
        assert isinstance(world.submit(9), JobRefused)
        assert isinstance(world.submit(4, no_wait=True), JobRefused), "the waiting job would come first"
        world.change(change.hold, HoldJob(job_id=second))
        assert world.running() == [] and world.yard.processing_held

    def test_a_jobs_own_end_lifts_it(self) -> None:
        world = World(gpus=2, local_job_max_concurrent=2)
        first, other, waiting = world.job(1), world.job(1), world.job(1)
        world.cancel(first)
        world.end(other)
        assert world.running() == [first, waiting]
        world.end(first, "cancelled", 143)

    def test_cancelling_a_waiting_job_holds_nothing(self) -> None:
        world = World()
        first, second = world.job(), world.job()
        world.cancel(second)
        assert not world.yard.processing_held
        assert world.status(second) == "cancelled" and world.status(first) == "running"

    def test_bulk_cancel_of_a_hundred_lets_none_slip_through(self) -> None:
        world = World(gpus=4, local_job_max_concurrent=4)
        jobs = [world.job() for _ in range(100)]
        answer = world.cancel_all()
        assert sorted(answer.cancelled) == sorted(jobs) and answer.still_pending == 0
        for job in world.running():
            world.end(job, "cancelled", 143)
        assert {world.status(job) for job in jobs} == {"cancelled"}
        assert len(world.started) == 4

    def test_an_end_that_was_committed_first_wins(self) -> None:
        world = World()
        job = world.job()
        world.end(job)
        with pytest.raises(NotActive):
            world.cancel(job)

    def test_the_queue_route_refuses_a_running_job(self) -> None:
        world = World()
        job = world.job()
        with pytest.raises(WrongState):
            world.cancel(job, waiting_only=True)
        assert world.status(job) == "running"

    @pytest.mark.parametrize("other", [RESEARCHER, LEAD])
    def test_only_the_owner_or_an_admin_cancels_or_holds(self, other: Viewer) -> None:
        world = World()
        job, waiting = world.job(), world.job(by=RESEARCHER)
        with pytest.raises(NotAllowed if other is LEAD else NotActive):  # to whom may not see it, it does not exist
            world.cancel(job, by=other)
        if other is LEAD:
            with pytest.raises(NotAllowed):
                world.change(change.hold, HoldJob(job_id=waiting, by=other))
            world.change(change.set_priority, SetPriority(job_id=waiting, priority=25, by=other))
        world.cancel(waiting)


class TestSubmit:
    def test_no_wait_is_refused_without_a_trace_when_it_cannot_start_now(self) -> None:
        world = World()
        world.job()
        answer = world.submit(no_wait=True)
        assert isinstance(answer, JobRefused) and answer.error == "no_capacity"
        assert len(world.store.jobs) == 1

    def test_a_dry_run_tells_the_gpus_or_the_reasons_and_stores_nothing(self) -> None:
        world = World()
        would = world.submit(2, dry_run=True)
        assert isinstance(would, JobAccepted) and (would.status, would.allocated_gpus) == ("running", [0, 1])
        world.job()
        would = world.submit(2, dry_run=True)
        assert isinstance(would, JobAccepted)
        assert (would.status, would.queue_position, would.reasons[0].code) == ("queued", 1, "LocalJobLimit")
        assert len(world.store.jobs) == 1

    def test_more_gpus_than_any_host_has_is_refused(self) -> None:
        answer = World(gpus=2).submit(3)
        assert isinstance(answer, JobRefused) and answer.error == "too_big"

    def test_a_device_that_does_not_exist_is_refused(self) -> None:
        answer = World(gpus=2).submit(1, device_ids=(7,))
        assert isinstance(answer, JobRefused) and answer.error == "unknown_device"

    def test_cloud_without_a_provider_is_refused(self) -> None:
        answer = World().submit(1, target=Target.CLOUD)
        assert isinstance(answer, JobRefused) and answer.error == "provider_not_configured"

    def test_a_worker_job_waits_for_a_worker(self) -> None:
        world = World()
        job = world.job(1, target=Target.WORKER)
        assert codes(world, job) == ["NoMatchingWorker"]

    def test_the_same_key_and_body_give_the_first_job_and_another_body_is_a_conflict(self) -> None:
        from gpuyard.actors.model.errors import IdempotencyConflict

        world = World()
        first = world.submit(idempotency_key="k", digest="a")
        again = world.submit(idempotency_key="k", digest="a")
        assert isinstance(first, JobAccepted) and isinstance(again, JobAccepted)
        assert again.job_id == first.job_id and again.idempotent_hit
        with pytest.raises(IdempotencyConflict):
            world.submit(idempotency_key="k", digest="b")
        world.restart()
        again = world.submit(idempotency_key="k", digest="a")
        assert isinstance(again, JobAccepted) and again.idempotent_hit
        assert len(world.store.jobs) == 1

    def test_refusals_are_not_remembered(self) -> None:
        world = World()
        first = world.job()
        assert isinstance(world.submit(no_wait=True, idempotency_key="k", digest="a"), JobRefused)
        world.end(first)
        assert isinstance(world.submit(no_wait=True, idempotency_key="k", digest="a"), JobAccepted)

    def test_a_blocked_job_starts_on_no_path_without_approval(self) -> None:
        world = World()
        job = world.job(requires_approval=True)
        world.change(change.process, ProcessQueue())
        world.limit(local_job_max_concurrent=8)
        world.restart()
        assert world.status(job) == "blocked" and codes(world, job) == ["AwaitingApproval"]
        world.change(reviews.approve, ApproveJob(job_id=job))
        assert world.status(job) == "running"

    def test_overrides_are_for_leads_and_from_40_for_admins(self) -> None:
        world = World()
        with pytest.raises(NotAllowed):
            world.submit(by=RESEARCHER, priority_override=5)
        with pytest.raises(NotAllowed):
            world.submit(by=LEAD, priority_override=40)
        with pytest.raises(InvalidInput):
            world.submit(priority_override=51)
        world.job(by=LEAD, priority_override=39)

    def test_a_user_may_not_flood_the_queue(self) -> None:
        from gpuyard.actors.model.errors import TooManyPending
        from gpuyard.actors.model.outbox import Outbox

        world = World()
        command = SubmitJob(spec=JobSpec(argv=("x",)), by=RESEARCHER)
        world.yard.active_by_user[RESEARCHER.user_id] = dict.fromkeys(
            map(str, range(USER_MAX_PENDING + 1)), world.yard.jobs[world.job(by=RESEARCHER)]
        )
        with pytest.raises(TooManyPending):
            submit_one(world.yard, command, world.now(), Outbox())


class TestRetry:
    def test_a_lost_run_is_requeued_at_its_old_place_after_a_back_off(self) -> None:
        world = World()
        first, second = world.job(), world.job()
        world.end(first, "lost", None)
        assert world.status(first) == "pending" and world.running() == [second]
        assert world.yard.position(world.yard.jobs[first], world.now()) == 1
        assert "Backoff" in codes(world, first)
        world.clock.advance(6)
        world.end(second)
        assert world.running() == [first] and world.yard.attempt_of[first].number == 2

    def test_a_trainings_own_failure_is_final_unless_it_says_otherwise(self) -> None:
        world = World(local_job_max_concurrent=2)
        plain, patient = world.job(), world.job(retry_on=("exit:1",))
        world.end(plain, "exit:1", 1)
        world.end(patient, "exit:1", 1)
        assert (world.status(plain), world.status(patient)) == ("failed", "pending")

    def test_attempts_run_out(self) -> None:
        world = World()
        job = world.job(max_attempts=2)
        world.end(job, "lost", None)
        world.clock.advance(1000)
        world.do(policy.start_what_may)
        world.end(job, "lost", None)
        assert world.status(job) == "failed"

    def test_a_report_under_an_old_fence_changes_nothing(self) -> None:
        from gpuyard.actors.model import runs
        from gpuyard.actors.model.events import AttemptExited

        world = World()
        job = world.job()
        old = world.fence(job)
        world.end(job, "requeue", 85)
        world.clock.advance(2)
        world.do(policy.start_what_may)
        event = AttemptExited(fence=old, exit_class="completed", exit_code=0)
        world.do(lambda y, n, o: runs.exited(y, event, n, o))
        assert world.status(job) == "running"


class TestCloud:
    """Cloud jobs are scheduled by the same policy as soon as a provider takes them."""

    @staticmethod
    def world(**limits: Any) -> World:
        world = World(**limits)
        world.tell_providers("replicate")
        return world

    def test_the_requirements_fair_share_example_with_its_arithmetic_corrected(self) -> None:
        world = self.world(max_concurrent=6, user_max_concurrent=2, team_max_concurrent=3, enable_fair_share=True)
        people = {
            name: Viewer(user_id=number, username=name, level=Level.RESEARCHER, team_id=team)
            for number, (name, team) in enumerate({"alice": "alpha", "bob": "alpha", "carol": "beta"}.items(), 10)
        }
        alice = [world.job(by=people["alice"], target=Target.CLOUD, provider="replicate") for _ in range(2)]
        bob = [world.job(by=people["bob"], target=Target.CLOUD, provider="replicate") for _ in range(2)]
        carol = [world.job(by=people["carol"], target=Target.CLOUD, provider="replicate") for _ in range(3)]
        assert set(world.running()) == {*alice, bob[0], *carol[:2]}
        assert codes(world, bob[1]) == ["TeamLimit"]
        assert codes(world, carol[2]) == ["UserLimit"]
        world.end(alice[0])
        assert world.status(bob[1]) == "running" and world.status(carol[2]) == "pending"

    def test_a_job_without_a_team_knows_no_team_limit_and_all_know_the_global_one(self) -> None:
        world = self.world(max_concurrent=2, user_max_concurrent=20, team_max_concurrent=1, enable_fair_share=True)
        jobs = [world.job(target=Target.CLOUD, provider="replicate") for _ in range(3)]
        assert world.running() == jobs[:2]
        assert codes(world, jobs[2]) == ["GlobalLimit"]

    def test_a_cancel_of_a_cloud_job_holds_nothing_back(self) -> None:
        world = self.world(max_concurrent=1)
        first, second = (world.job(target=Target.CLOUD, provider="replicate") for _ in range(2))
        world.cancel(first)
        assert not world.yard.processing_held
        world.end(first, "cancelled", 143)
        assert world.status(first) == "cancelled" and world.running() == [second]


class TestUnblock:
    """Following a reason's `unblock` starts the job."""

    def follow(self, world: World, job_id: str) -> None:
        reason = explain.why(world.yard, world.yard.jobs[job_id], world.now())[0]
        for command in reason.unblock.split(" && "):
            words = command.split()
            match words:
                case ["gpuyard", "queue", "limits", "set", setting]:
                    name, value = setting.split("=")
                    world.limit(**{name: int(value)})
                case ["gpuyard", "queue", "process"]:
                    world.change(change.process, ProcessQueue())
                case ["gpuyard", "jobs", "cancel", *job_ids]:
                    for other in job_ids:
                        world.change(_cancel, CancelJob(job_id=other))
                        world.end(other, "cancelled", 143)
                case ["gpuyard", "jobs", "hold", other]:
                    world.change(change.hold, HoldJob(job_id=other))
                case ["gpuyard", "jobs", "release", other]:
                    from gpuyard.actors.model.commands import ReleaseJob

                    world.change(change.release, ReleaseJob(job_id=other))
                case ["gpuyard", "jobs", "approval", other, "approve"]:
                    world.change(reviews.approve, ApproveJob(job_id=other))
                case _:
                    raise AssertionError(f"not a command: {command!r}")

    @pytest.mark.parametrize(
        "case", ["slots", "gpu cap", "user", "busy", "devices", "reserved", "held", "approval", "cpu"]
    )
    def test_it_starts(self, case: str) -> None:
        world = World(gpus=4, local_job_max_concurrent=8, reserve_after_seconds=0)
        if case == "slots":
            world.limit(local_job_max_concurrent=1)
            world.job()
            world.job()
            job = world.job()
        elif case == "gpu cap":
            world.limit(local_gpu_max_concurrent=2)
            world.job(2)
            job = world.job(2)
        elif case == "user":
            world.limit(user_max_gpus=1)
            world.job()
            job = world.job()
        elif case == "busy":
            world.job(3)
            job = world.job(2)
        elif case == "devices":
            world.job(1, device_ids=(1,))
            job = world.job(1, device_ids=(1,))
        elif case == "reserved":
            world.job(3)
            world.job(4)
            job = world.job(1)
        elif case == "held":
            world.job(4)
            job = world.job(1)
            world.change(change.hold, HoldJob(job_id=job))
            world.end(world.running()[0])
        elif case == "approval":
            job = world.job(requires_approval=True)
        else:
            world.job(0)
            job = world.job(0)
        assert world.status(job) != "running"
        self.follow(world, job)
        assert world.status(job) == "running"


def _cancel(yard, command, now, out):  # type: ignore[no-untyped-def]
    from gpuyard.actors.model.cancel import cancel_one

    return cancel_one(yard, command, now, out)


def test_a_submit_that_lifts_a_hold_lets_the_higher_priority_go_first() -> None:
    world = World(gpus=1)
    first = world.job(1)
    young = world.job(1, by=RESEARCHER)
    world.cancel(first)
    world.end(first, "signal:SIGTERM", 143)
    assert world.running() == []
    boss = world.job(1)
    assert world.running() == [boss]
    assert world.status(young) == "pending"
