"""One's own queue: its first jobs, in the very order in which they will be dispatched."""

from __future__ import annotations

import random

from gpuyard.actors.model import ask, change
from gpuyard.actors.model.commands import GetMyQueue, SetPriority
from gpuyard.actors.model.job import Status
from gpuyard.actors.model.people import Level, Viewer
from tests.unit.core.world import World

ANN = Viewer(user_id=7, level=Level.ADMIN)


def test_the_first_of_many_are_those_that_a_full_sort_gives() -> None:
    chance = random.Random(4)
    world = World(gpus=1)
    world.job(by=ANN)
    ids = []
    for _ in range(60):
        level = chance.choice((Level.RESEARCHER, Level.LEAD, Level.ADMIN))
        ids.append(world.job(by=Viewer(user_id=7, level=level)))
        world.clock.advance(chance.choice((1, 600, 2400)))
    for job_id in chance.sample(ids, 12):
        command = SetPriority(job_id=job_id, priority=chance.choice((0, 15, 25, 45)), by=ANN)
        world.do(lambda y, n, o, command=command: change.set_priority(y, command, n, o))  # type: ignore[misc]
    yard, now = world.yard, world.now()
    pending = [job for job in yard.active_by_user[7].values() if job.status is Status.PENDING]
    whole = sorted(pending, key=lambda job: yard.rank_key(job, now))
    for most in (1, 7, 100):
        assert ask.first_of(yard, pending, most, now) == whole[:most]
    mine = ask.my_queue(yard, GetMyQueue(user_id=7), now)
    assert (mine.pending_count, mine.running_count, mine.best_position) == (60, 1, 1)
    assert [entry.position for entry in mine.pending_jobs] == list(range(1, 61))
