"""Whatever happens in whatever order, with workers that come, go, drain, change and fall silent: as in
`test_properties`, and every start is one that the newest facts of its worker allowed (`FleetWorld`)."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import msgspec
from hypothesis import settings
from hypothesis.stateful import invariant, multiple, precondition, rule

from gpuyard.actors.model import policy
from gpuyard.actors.model.job import Target
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.shapes import Pool
from gpuyard.actors.model.views import JobAccepted
from tests.unit.core.fleet_world import FleetWorld
from tests.unit.core.test_properties import PEOPLE, QueueMachine

NAMES = ("ash", "birch", "cedar")
LABELS = [{}, {"type": "a100"}, {"type": "h100", "site": "us-1"}, {"type": "a10", "site": "eu"}]
GLOBS = [{}, {"type": "a100*"}, {"type": "*100"}, {"site": "us-*", "type": "h*"}, {"site": "?u"}]


class FleetMachine(QueueMachine):
    """Random days of a queue with a host of its own and up to three workers."""

    world: FleetWorld

    def __init__(self) -> None:
        super().__init__()
        self.world = FleetWorld(gpus=4, at_once=False, local_job_max_concurrent=2, local_cpu_job_max_concurrent=1)

    @rule(
        target=QueueMachine.jobs,
        gpus=st.integers(0, 3),
        person=st.sampled_from(PEOPLE),
        target_=st.sampled_from([Target.AUTO, Target.WORKER, Target.WORKER]),
        globs=st.sampled_from(GLOBS),
        memory=st.sampled_from([None, None, 40.0, 100.0]),
        limit=st.sampled_from([None, 60.0, 3600.0]),
        hold=st.booleans(),
    )
    def submit_to_workers(
        self, gpus: int, person: Viewer, target_: Target, globs: Any, memory: Any, limit: Any, hold: bool
    ) -> Any:
        answer = self.world.submit(
            gpus,
            by=person,
            target=target_,
            worker_labels=globs,
            gpu_memory_gb=memory,
            time_limit=limit,
            max_attempts=2,
            partition_policy="hold" if hold else "lease",
        )
        return answer.job_id if isinstance(answer, JobAccepted) and answer.job_id is not None else multiple()

    @rule(
        name=st.sampled_from(NAMES),
        gpus=st.integers(0, 3),
        memory=st.sampled_from([24, 80]),
        labels=st.sampled_from(LABELS),
        max_jobs=st.sampled_from([None, None, 1, 2]),
        state=st.sampled_from(["connecting", "idle", "idle"]),
        at_once=st.booleans(),
        ephemeral=st.sampled_from([False, False, True]),
    )
    def register(
        self, name: str, gpus: int, memory: int, labels: Any, max_jobs: Any, state: str, at_once: bool, ephemeral: bool
    ) -> None:
        if name not in self.world.workers:
            more = {"max_jobs": max_jobs, "state": state, "at_once": at_once, "ephemeral": ephemeral}
            self.world.worker(name, gpus, memory, labels, **more)

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), state=st.sampled_from(["idle", "idle", "draining", "offline"]))
    def turn(self, data: st.DataObject, state: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.workers)))
        if state == "offline":
            fences = tuple(a.fence for a in self.world.yard.attempt_of.values() if a.host == name)
            self.world.registry_says(name, state=state, unreachable=fences)
        else:
            self.world.worker_says(name, state=state, unreachable=())

    @precondition(lambda self: self.world.workers)
    @rule(
        data=st.data(),
        labels=st.sampled_from([None, *LABELS]),
        broken=st.sampled_from([None, 0, 1]),
        max_jobs=st.sampled_from([None, 1]),
        takes_work=st.sampled_from([True, True, False]),
    )
    def change_worker(self, data: st.DataObject, labels: Any, broken: Any, max_jobs: Any, takes_work: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.world.workers)))
        fact = self.world.workers[name]
        facts = tuple(msgspec.structs.replace(g, fault="Xid 79" if g.index == broken else None) for g in fact.facts)
        new_labels = fact.labels if labels is None else labels
        self.world.worker_says(name, labels=new_labels, facts=facts, max_jobs=max_jobs, takes_work=takes_work)

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self.world.delete(data.draw(st.sampled_from(sorted(self.world.workers))))

    @rule(seconds=st.sampled_from([5.0, 40.0]), heard=st.booleans())
    def beats(self, seconds: float, heard: bool) -> None:
        self.world.clock.advance(seconds)
        self.world.tell_facts()
        for name, fact in sorted(self.world.workers.items()):
            if heard and fact.state in ("idle", "busy"):
                self.world.worker_says(name)
        self.world.do(policy.start_what_may)

    @invariant()
    def holds_are_kept_by_host(self) -> None:
        yard, store = self.world.yard, self.world.store
        there = {(h.id, uuid): hold for h in yard.hosts.with_holds() for uuid, hold in h.ledger.holds.items()}
        assert there == {key: hold for key, hold in store.holds.items() if key[0] != "local"}

    @invariant()
    def each_run_counts_where_it_is(self) -> None:
        yard = self.world.yard
        for job_id, attempt in yard.attempt_of.items():
            here = attempt.host == "local"
            assert (job_id in yard.running[Pool.WORKER]) is not here
            if not here:
                assert attempt.fence in yard.hosts.get(attempt.host).runs
        away = {attempt.host for attempt in yard.attempt_of.values()} - {"local"}
        runs = sum(len(yard.hosts.get(host).runs) for host in away)
        assert runs == len(yard.running[Pool.WORKER])


FleetMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestFleet = FleetMachine.TestCase
del QueueMachine
