"""Whatever happens in whatever order: no GPU twice, no job lost, limits kept, every waiting job has a true reason."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from gpuyard.actors.model import change, explain, policy, reviews
from gpuyard.actors.model.attempt import LOCAL_HOST
from gpuyard.actors.model.commands import (
    ApproveJob,
    HoldJob,
    ProcessQueue,
    ReleaseJob,
    SetPriority,
)
from gpuyard.actors.model.job import Status, Target
from gpuyard.actors.model.people import Level, Viewer
from gpuyard.actors.model.shapes import Pool
from gpuyard.actors.model.views import JobAccepted
from tests.unit.core.world import World

PEOPLE = [Viewer(user_id=i, username=f"user{i}", level=level, team_id=f"team{i % 2}") for i, level in enumerate(Level)]


class QueueMachine(RuleBasedStateMachine):
    """Random days in the life of a queue, on a host whose GPUs are empty at once or only when it says so."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.world = World(gpus=4, at_once=False, local_job_max_concurrent=3, local_cpu_job_max_concurrent=2)
        self.ended: dict[str, str] = {}

    @rule(
        target=jobs,
        gpus=st.integers(0, 4),
        person=st.sampled_from(PEOPLE),
        devices=st.sampled_from([(), (), (), (0,), (1, 2), (0, 1, 2, 3)]),
        limit=st.sampled_from([None, 60.0, 3600.0]),
        target_=st.sampled_from([Target.AUTO, Target.AUTO, Target.LOCAL, Target.WORKER]),
        more=st.fixed_dictionaries(
            {},
            optional={
                "no_wait": st.just(True),
                "dry_run": st.just(True),
                "requires_approval": st.just(True),
                "any_gpu": st.just(True),
            },
        ),
        later=st.sampled_from([None, None, 100.0]),
    )
    def submit(
        self, gpus: int, person: Viewer, devices: Any, limit: Any, target_: Target, more: Any, later: Any
    ) -> Any:
        before = dict(self.world.store.jobs)
        answer = self.world.submit(
            gpus,
            by=person,
            device_ids=devices,
            time_limit=limit,
            target=target_,
            not_before=None if later is None else self.world.clock.now() + later,
            retry_on=("exit:3",),
            max_attempts=2,
            **more,
        )
        if isinstance(answer, JobAccepted) and answer.job_id is not None:
            return answer.job_id
        assert before == self.world.store.jobs, "a refused or dry submit stores nothing"
        return multiple()

    @initialize(target=jobs, sizes=st.lists(st.integers(0, 4), min_size=2, max_size=8))
    def begin(self, sizes: list[int]) -> Any:
        return multiple(*[self.world.job(size, by=PEOPLE[size % 4]) for size in sizes])

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        if job in self.world.yard.jobs:
            was_running = self.world.status(job) == "running"
            running = set(self.world.running())
            self.world.cancel(job)
            if was_running:
                assert set(self.world.running()) == running, "a cancel of a running job starts nothing"
            self.world.do(policy.start_what_may)  # the tick: a cancelled reservation lets others in

    @rule()
    def cancel_everything(self) -> None:
        before = set(self.world.started)
        self.world.cancel_all()
        assert set(self.world.started) == before, "a bulk cancel lets nothing slip through"
        self.world.do(policy.start_what_may)

    @rule(job=jobs, exit_class=st.sampled_from(["completed", "exit:3", "exit:1", "lost", "requeue", "signal:KILL"]))
    def end(self, job: str, exit_class: str) -> None:
        if self.world.status(job) == "running":
            held, cancelled = self.world.yard.processing_held, self.world.yard.jobs[job].cancel_requested
            before = len(self.world.started)
            self.world.end(job, exit_class, None if exit_class == "lost" else 1)
            if held and cancelled:
                assert len(self.world.started) == before, "the end of a cancelled run starts nothing"

    @rule(job=jobs)
    def report_start(self, job: str) -> None:
        if self.world.status(job) == "running":
            self.world.report_start(job)

    @precondition(lambda self: self.world.releasing)
    @rule(data=st.data())
    def empty(self, data: st.DataObject) -> None:
        self.world.empty(data.draw(st.sampled_from(sorted(self.world.releasing))))

    @rule(index=st.integers(0, 3), pids=st.sampled_from([(), (99,)]))
    def foreign(self, index: int, pids: tuple[int, ...]) -> None:
        self.world.foreign(index, *pids)

    @rule(seconds=st.sampled_from([0.5, 5.0, 120.0, 400.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.world.clock.advance(seconds)
        self.world.tell_facts()
        self.world.do(policy.start_what_may)

    @rule(
        changes=st.fixed_dictionaries(
            {},
            optional={
                "local_job_max_concurrent": st.integers(1, 4),
                "local_gpu_max_concurrent": st.sampled_from([None, 1, 3]),
                "user_max_gpus": st.sampled_from([None, 1, 2]),
                "reserve_after_seconds": st.sampled_from([0, 300]),
            },
        )
    )
    def limits(self, changes: dict[str, Any]) -> None:
        self.world.limit(**changes)

    @rule(job=jobs, value=st.sampled_from([None, 0, 25, 45]))
    def priority(self, job: str, value: int | None) -> None:
        if job in self.world.yard.jobs and self.world.status(job) != "running":
            self.world.change(change.set_priority, SetPriority(job_id=job, priority=value))

    @rule(job=jobs)
    def hold(self, job: str) -> None:
        if self.world.status(job) in ("pending", "blocked"):
            self.world.change(change.hold, HoldJob(job_id=job))

    @rule(job=jobs)
    def release(self, job: str) -> None:
        if self.world.status(job) in ("pending", "blocked"):
            self.world.change(change.release, ReleaseJob(job_id=job))

    @rule(job=jobs)
    def approve(self, job: str) -> None:
        if self.world.status(job) == "blocked":
            self.world.change(reviews.approve, ApproveJob(job_id=job))

    @rule()
    def process(self) -> None:
        self.world.change(change.process, ProcessQueue())

    @rule()
    def restart(self) -> None:
        before = {job.job_id: job.status for job in self.world.store.jobs.values()}
        order = self._order()
        self.world.restart()
        after = {job.job_id: job.status for job in self.world.store.jobs.values()}
        assert before.keys() == after.keys(), "no job is lost"
        left = [job_id for job_id in order if after[job_id] == "pending"]
        assert self._order() == left, "a restart keeps the order"

    def _order(self) -> list[str]:
        world = self.world
        page = world.yard.order.page(0, 10_000, world.clock.now(), world.yard.limits.starvation_threshold_minutes)
        return [job.job_id for job in page]

    @invariant()
    def memory_equals_store(self) -> None:
        yard, store = self.world.yard, self.world.store
        assert yard.jobs == {
            job_id: job for job_id, job in store.jobs.items() if job.status in ("pending", "blocked", "running")
        }
        here = {hold.uuid: hold for (host, _), hold in store.holds.items() if host == LOCAL_HOST}
        assert yard.ledger.holds == here

    @invariant()
    def limits_bind(self) -> None:
        yard = self.world.yard
        new = yard.running[Pool.GPU].values()
        assert sum(job.spec.num_processes for job in new) <= 4
        for job in yard.jobs.values():
            if job.status is Status.BLOCKED:
                assert job.job_id not in self.world.started, "a blocked job never started"

    @invariant()
    def positions_are_1_to_n(self) -> None:
        yard, now = self.world.yard, self.world.now()
        assert [yard.position(yard.jobs[job_id], now) for job_id in self._order()] == list(
            range(1, len(yard.order) + 1)
        )

    @invariant()
    def every_waiting_job_has_a_true_reason(self) -> None:
        yard, now = self.world.yard, self.world.now()
        for job in yard.jobs.values():
            if job.status in (Status.PENDING, Status.BLOCKED):
                assert explain.why(yard, job, now)
            if job.status is Status.PENDING and not yard.processing_held:
                assert list(explain.obstacles(yard, job, now)), f"{job.job_id} could run but waits"

    @invariant()
    def terminal_stays_terminal(self) -> None:
        for job in self.world.store.jobs.values():
            if job.status in ("completed", "failed", "cancelled"):
                assert self.ended.setdefault(job.job_id, str(job.status)) == job.status


QueueMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestQueue = QueueMachine.TestCase
