"""The requirement's "Priority Levels", "Concurrency Limits", "Fair-Share Scheduling" and "Starvation Prevention", line
by line."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from gpuyard.actors.model import change, explain, submit
from gpuyard.actors.model.commands import ProcessQueue, SetPriority, SubmitJob
from gpuyard.actors.model.errors import NotAllowed
from gpuyard.actors.model.job import JobSpec, Target
from gpuyard.actors.model.limits import Limits
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.priority import name_of
from gpuyard.actors.model.shapes import Pool
from gpuyard.actors.model.views import JobAccepted
from tests.unit.core.fleet_world import FleetWorld
from tests.unit.core.world import World

ALICE = Viewer(user_id=11, username="alice", level=Level.RESEARCHER, team_id="alpha")
BOB = Viewer(user_id=12, username="bob", level=Level.RESEARCHER, team_id="alpha")
CAROL = Viewer(user_id=13, username="carol", level=Level.RESEARCHER, team_id="beta")
DAVE = Viewer(user_id=14, username="dave", level=Level.RESEARCHER)


def lab(**limits: Any) -> World:
    world = World(**limits)
    world.tell_providers("replicate")
    return world


def cloud(world: World, by: Viewer = DAVE, **more: Any) -> str:
    return world.job(by=by, target=Target.CLOUD, provider="replicate", **more)


def codes(world: World, job_id: str) -> list[str]:
    return [str(reason.code) for reason in explain.why(world.yard, world.yard.jobs[job_id], world.now())]


class TestPriorityLevels:
    @pytest.mark.parametrize(
        ("level", "name", "value"), [("ADMIN", "urgent", 30), ("LEAD", "high", 20), ("RESEARCHER", "normal", 10),
                                     ("VIEWER", "low", 0)]
    )  # fmt: skip
    def test_jobs_are_assigned_priority_based_on_user_level(self, level: str, name: str, value: int) -> None:
        world = lab()
        job = world.yard.jobs[cloud(world, Viewer(user_id=9, username="x", level=Level[level]))]
        assert (job.priority, name_of(job.priority)) == (value, name)

    def test_higher_values_are_processed_first_and_equals_in_submission_order(self) -> None:
        world = lab(max_concurrent=1)
        first = cloud(world)
        jobs = [
            cloud(world, Viewer(user_id=20 + n, username="x", level=level))
            for n, level in enumerate((Level.VIEWER, Level.RESEARCHER, Level.RESEARCHER, Level.ADMIN, Level.LEAD))
        ]
        started = []
        while world.running():
            world.end(world.running()[0])
            started += world.running()
        assert first not in started
        assert started == [jobs[3], jobs[4], jobs[1], jobs[2], jobs[0]]

    def test_leads_and_admins_can_override_a_jobs_priority_others_not(self) -> None:
        world = lab(max_concurrent=1)
        cloud(world)
        job = cloud(world, ALICE)
        lead = Viewer(user_id=5, username="lee", level=Level.LEAD)
        answer = world.change(change.set_priority, SetPriority(job_id=job, priority=35, by=lead))
        assert answer.new_effective_priority == 35
        with pytest.raises(NotAllowed):
            world.change(change.set_priority, SetPriority(job_id=job, priority=35, by=ALICE))


class TestConcurrencyLimits:
    def test_the_defaults_are_those_of_the_requirement(self) -> None:
        limits = Limits()
        assert (limits.max_concurrent, limits.user_max_concurrent, limits.team_max_concurrent) == (5, 2, 10)
        assert (limits.enable_fair_share, limits.local_gpu_max_concurrent, limits.local_job_max_concurrent) == (
            False, None, 1
        )  # fmt: skip

    def test_by_default_five_run_and_two_of_one_user(self) -> None:
        world = lab()
        jobs = {by.username: [cloud(world, by) for _ in range(3)] for by in (ALICE, BOB, CAROL)}
        assert len(world.running()) == 5
        assert codes(world, jobs["alice"][2]) == ["GlobalLimit", "UserLimit"]
        assert codes(world, jobs["carol"][1]) == ["GlobalLimit"]

    def test_changed_limits_hold_at_once_and_over_a_restart(self) -> None:
        world = lab(max_concurrent=1)
        first, second = cloud(world), cloud(world)
        assert world.running() == [first]
        world.limit(max_concurrent=2)
        assert world.running() == [first, second]
        world.restart()
        assert world.yard.limits.max_concurrent == 2

    def test_lowering_a_limit_ends_nothing_but_starts_nothing_either(self) -> None:
        world = lab()
        jobs = [cloud(world, by) for by in (ALICE, BOB, CAROL)]
        world.limit(max_concurrent=1)
        assert world.running() == jobs
        world.end(jobs[0])
        assert codes(world, cloud(world)) == ["GlobalLimit"]

    def test_cloud_limits_bind_no_local_job_and_local_limits_no_cloud_job(self) -> None:
        world = lab(max_concurrent=1, user_max_concurrent=1, local_job_max_concurrent=1, user_max_gpus=1)
        jobs = [cloud(world, ALICE), world.job(1, by=ALICE), world.job(0, by=ALICE)]
        assert world.running() == jobs

    def test_a_users_limit_hides_nobody_however_many_wait_before(self) -> None:
        world = lab(max_concurrent=4, user_max_concurrent=1)
        for _ in range(200):
            cloud(world, ALICE)
        assert cloud(world, CAROL) in world.running()

    def test_user_max_gpus_binds_one_person_and_names_what_that_person_runs(self) -> None:
        world = World(gpus=4, local_job_max_concurrent=4, user_max_gpus=2)
        running = world.job(2, by=ALICE)
        waiting = world.job(1, by=ALICE)
        [reason] = explain.why(world.yard, world.yard.jobs[waiting], world.now())
        assert (reason.code, reason.blocking_jobs) == ("UserLimit", (running,))
        assert world.job(2, by=BOB) in world.running(), "the others have the rest of the box"
        assert world.job(0, by=ALICE) in world.running(), "a CPU job needs none"

    def test_user_max_gpus_counts_local_and_worker_gpus_together(self) -> None:
        world = FleetWorld(gpus=2, local_job_max_concurrent=9, user_max_gpus=3)
        world.worker("w1", gpus=2)
        local = world.job(2, by=ALICE, target=Target.LOCAL)
        remote = world.job(1, by=ALICE, target=Target.WORKER)
        waiting = world.job(1, by=ALICE)
        assert (world.host(local), world.host(remote)) == ("local", "w1")
        [reason, *_] = explain.why(world.yard, world.yard.jobs[waiting], world.now())
        assert (reason.code, set(reason.blocking_jobs)) == ("UserLimit", {local, remote})
        assert world.host(world.job(1, by=BOB)) == "w1", "the GPU stands free for somebody else"
        world.restart()
        world.end(local)
        assert waiting in world.running()


class TestFairShare:
    def full_team(self, **limits: Any) -> tuple[World, str]:
        """Two of Alice's run, which is all that her team may; Bob's waits."""
        world = lab(max_concurrent=9, user_max_concurrent=9, team_max_concurrent=2, **limits)
        for _ in range(2):
            cloud(world, ALICE)
        return world, cloud(world, BOB)

    def test_the_team_limit_is_a_third_layer_for_all_users_of_the_team(self) -> None:
        world, waiting = self.full_team(enable_fair_share=True)
        assert codes(world, waiting) == ["TeamLimit"]
        assert cloud(world, CAROL) in world.running()

    def test_without_fair_share_it_does_not_count(self) -> None:
        world, waiting = self.full_team()
        assert waiting in world.running()

    def test_jobs_without_a_team_are_not_subject_to_it(self) -> None:
        world = lab(enable_fair_share=True, team_max_concurrent=1, user_max_concurrent=9, max_concurrent=9)
        jobs = [cloud(world, DAVE) for _ in range(4)]
        assert world.running() == jobs

    def test_turned_on_it_counts_what_runs_already_and_turned_off_it_lets_go(self) -> None:
        world, running = self.full_team()
        assert running in world.running()
        world.limit(enable_fair_share=True)
        waiting = cloud(world, ALICE)
        assert codes(world, waiting) == ["TeamLimit"]
        world.limit(enable_fair_share=False)
        assert waiting in world.running()

    def test_the_next_of_the_team_starts_when_one_of_it_ends(self) -> None:
        world, waiting = self.full_team(enable_fair_share=True)
        world.end(world.running()[0])
        assert waiting in world.running()

    def test_a_job_has_the_team_that_its_user_had_at_the_submit(self) -> None:
        world = lab(max_concurrent=1)
        cloud(world)
        job = cloud(world, ALICE)
        moved = Viewer(user_id=11, username="alice", level=Level.RESEARCHER, team_id="beta")
        assert (world.yard.jobs[job].team_id, world.yard.jobs[cloud(world, moved)].team_id) == ("alpha", "beta")

    def test_only_an_admin_submits_for_another_team(self) -> None:
        world = lab()
        spec = JobSpec(argv=("true",), target=Target.CLOUD, provider="replicate")
        command = SubmitJob(spec=spec, by=ALICE, team_id="beta")
        with pytest.raises(NotAllowed):
            world.do(lambda y, n, o: submit.submit_one(y, command, n, o))
        root = Viewer(user_id=1, username="root", level=Level.ADMIN)
        assert isinstance(world.submit(by=root, team_id="beta", target=Target.CLOUD), JobAccepted)

    def test_the_layers_are_checked_in_order_global_user_team(self) -> None:
        world = lab(max_concurrent=1, user_max_concurrent=1, team_max_concurrent=1, enable_fair_share=True)
        cloud(world, ALICE)
        assert codes(world, cloud(world, ALICE)) == ["GlobalLimit", "UserLimit"]
        assert codes(world, cloud(world, BOB)) == ["GlobalLimit", "TeamLimit"]
        assert codes(world, cloud(world, CAROL)) == ["GlobalLimit"]


class TestStarvation:
    def test_a_job_that_waits_longer_than_the_threshold_is_boosted_past_newer_ones_of_a_higher_level(self) -> None:
        world = lab(max_concurrent=1, starvation_threshold_minutes=30)
        running = cloud(world)
        old = cloud(world, Viewer(user_id=30, username="v", level=Level.VIEWER))
        world.clock.advance(29 * 60)
        new = cloud(world, ALICE)
        assert world.yard.position(world.yard.jobs[new], world.now()) == 1
        world.clock.advance(60)
        assert world.yard.position(world.yard.jobs[old], world.now()) == 1
        world.end(running)
        assert old in world.running()

    @settings(max_examples=60)
    @given(
        waits=st.lists(
            st.tuples(st.sampled_from(list(Level)), st.integers(0, 90), st.sampled_from([None, None, None, 5, 25])),
            min_size=2,
            max_size=12,
        ),
        later=st.lists(st.integers(1, 120), min_size=1, max_size=4),
    )
    def test_waiting_longer_never_worsens_a_place_against_an_equal(self, waits: list[Any], later: list[int]) -> None:
        world = lab(max_concurrent=1, starvation_threshold_minutes=30)
        cloud(world)
        jobs = []
        for number, (level, minutes, override) in enumerate(waits):
            job = cloud(world, Viewer(user_id=50 + number, username="x", level=level))
            if override is not None:
                world.change(change.set_priority, SetPriority(job_id=job, priority=override))
            jobs.append((job, level, override))
            world.clock.advance(minutes * 60)
        before = {job: world.yard.position(world.yard.jobs[job], world.now()) for job, _, _ in jobs}
        for minutes in later:
            world.clock.advance(minutes * 60)
            after = {job: world.yard.position(world.yard.jobs[job], world.now()) for job, _, _ in jobs}
            for older, (job, level, override) in enumerate(jobs):
                for other, its_level, its_override in jobs[older + 1 :]:
                    if (level, override) == (its_level, its_override):
                        assert after[job] < after[other], "the older of two equals stands before the younger"
            assert sorted(after.values()) == sorted(before.values())


PEOPLE = [ALICE, BOB, CAROL, DAVE, Viewer(user_id=15, username="lee", level=Level.LEAD, team_id="beta")]


@settings(max_examples=80)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("submit"), st.integers(0, 4)),
            st.tuples(st.just("end"), st.integers(0, 20)),
            st.tuples(st.just("fair"), st.booleans()),
            st.tuples(
                st.sampled_from(["max_concurrent", "user_max_concurrent", "team_max_concurrent"]), st.integers(1, 5)
            ),
            st.tuples(st.sampled_from(["cancel", "restart", "process"]), st.integers(0, 20)),
        ),
        max_size=50,
    )
)
def test_no_limit_is_broken_by_a_start_and_nobody_waits_without_a_limit(steps: list[tuple[str, Any]]) -> None:
    world = lab(max_concurrent=3, user_max_concurrent=2, team_max_concurrent=2, enable_fair_share=True)
    for step, value in steps:
        before = set(world.running())
        act(world, step, value)
        limits, running = world.yard.limits, world.yard.running[Pool.CLOUD].values()
        for job_id in set(world.running()) - before:
            job = world.store.jobs[job_id]
            assert len(running) <= limits.max_concurrent
            assert sum(other.user_id == job.user_id for other in running) <= limits.user_max_concurrent
            if limits.enable_fair_share and job.team_id is not None:
                assert sum(other.team_id == job.team_id for other in running) <= limits.team_max_concurrent
        for job_id in world.pending():
            assert list(explain.obstacles(world.yard, world.yard.jobs[job_id], world.now())), f"{job_id} may start"


def act(world: World, step: str, value: Any) -> None:
    running = world.running()
    match step:
        case "submit":
            cloud(world, PEOPLE[value])
        case "end" if running:
            world.end(running[value % len(running)])
        case "cancel" if running:
            job_id = running[value % len(running)]
            world.cancel(job_id)
            world.end(job_id, "cancelled", 143)
        case "fair":
            world.limit(enable_fair_share=value)
        case "restart":
            world.restart()
        case "process":
            world.change(change.process, ProcessQueue())
        case name if name.endswith("concurrent"):
            world.limit(**{name: value})
