"""A run that ends while one of its GPUs has a fault: the GPU is to blame, and the job gets another try."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gpuyard.actors.model import policy
from gpuyard.actors.model.attempt import Attempt
from gpuyard.actors.model.commands import WantRun
from tests.unit.core.world import World

XID = "Xid 79 (the GPU has fallen off the bus)"


def break_gpu(world: World, index: int, **changes: Any) -> None:
    world.facts[index] = msgspec.structs.replace(world.facts[index], **changes)
    world.tell_facts()


def last_attempt(world: World) -> Attempt:
    return world.store.attempts[max(world.store.attempts)]


@pytest.mark.parametrize("exit_class", ["exit:1", "signal:SIGABRT", "oom"])
def test_an_end_on_a_broken_gpu_is_the_gpus_fault_and_is_tried_again(exit_class: str) -> None:
    world = World(gpus=2, at_once=False)
    job = world.job(2)
    world.report_start(job)
    break_gpu(world, 1, fault=XID)
    world.end(job, exit_class, 134)
    attempt = last_attempt(world)
    assert (attempt.exit_class, attempt.exit_code) == ("gpu_fault", 134)
    assert attempt.error == f"GPU 1: {XID}; {exit_class}"
    assert world.status(job) == "pending"
    stored = world.store.jobs[job]
    assert (stored.attempt, stored.error_message) == (2, f"GPU 1: {XID}; {exit_class}")
    assert stored.wait_until == world.clock.now() + 5.0
    assert world.store.events[-1].data["exit_class"] == "gpu_fault"


def test_a_gpu_that_went_missing_is_to_blame_too() -> None:
    world = World(gpus=1, at_once=False)
    job = world.job(1)
    break_gpu(world, 0, missing=True, fault=None)
    world.end(job, "exit:1", 1)
    assert last_attempt(world).error == "GPU 0: missing; exit:1"


def test_the_next_attempt_avoids_the_broken_gpu() -> None:
    world = World(gpus=2)
    job = world.job(1)
    assert world.gpus_of(job) == [0]
    break_gpu(world, 0, fault=XID)
    world.end(job, "exit:1", 1)
    world.clock.advance(6)
    world.do(policy.start_what_may)
    assert world.gpus_of(job) == [1]


def test_with_no_attempt_left_the_job_has_failed_by_the_gpu() -> None:
    world = World(gpus=1)
    job = world.job(1, max_attempts=1)
    break_gpu(world, 0, fault=XID)
    world.end(job, "exit:1", 1)
    stored = world.store.jobs[job]
    assert (stored.status, stored.exit_class, stored.exit_code) == ("failed", "gpu_fault", 1)
    assert stored.error_message == f"GPU 0: {XID}; exit:1"


@pytest.mark.parametrize("exit_class", ["completed", "timeout", "start_failed", "lost", "requeue"])
def test_what_the_gpu_did_not_cause_keeps_its_class(exit_class: str) -> None:
    world = World(gpus=1)
    job = world.job(1)
    break_gpu(world, 0, fault=XID)
    world.end(job, exit_class, 0)
    assert last_attempt(world).exit_class == exit_class


def test_a_cancelled_run_stays_cancelled() -> None:
    world = World(gpus=1)
    job = world.job(1)
    break_gpu(world, 0, fault=XID)
    world.cancel(job)
    world.end(job, "signal:SIGTERM", 143)
    stored = world.store.jobs[job]
    assert (stored.status, stored.exit_class) == ("cancelled", "cancelled")


@pytest.mark.parametrize("change", [{}, {"excluded": True}])
def test_a_sound_gpu_is_not_blamed(change: dict[str, Any]) -> None:
    world = World(gpus=2)
    job = world.job(1)
    break_gpu(world, 0, **change)
    break_gpu(world, 1, fault=XID)
    world.end(job, "exit:1", 1)
    assert world.store.jobs[job].exit_class == "exit:1"


def test_a_cpu_job_has_no_gpu_to_blame() -> None:
    world = World(gpus=1)
    job = world.job(0)
    break_gpu(world, 0, fault=XID)
    world.end(job, "exit:1", 1)
    assert world.store.jobs[job].exit_class == "exit:1"


# --- a GPU that broke since it was last read ---


def break_unseen(world: World, index: int) -> None:
    """The next reading will show it."""
    world.facts[index] = msgspec.structs.replace(world.facts[index], fault=XID)


def test_a_failing_end_is_judged_by_a_reading_that_began_after_it() -> None:
    world = World(gpus=1, at_once=False)
    job = world.job(1)
    break_unseen(world, 0)
    world.report_end(job, "exit:1", 1)
    assert world.status(job) == "running", "it is not judged yet"
    world.look()
    assert last_attempt(world).exit_class == "gpu_fault"
    assert world.status(job) == "pending"


def test_a_sound_gpu_is_looked_at_once_and_the_end_stands() -> None:
    world = World(gpus=1, at_once=False)
    job = world.job(1)
    world.report_end(job, "exit:1", 1)
    assert len(world.to_look_at) == 1
    world.look()
    assert (world.store.jobs[job].status, world.store.jobs[job].exit_class) == ("failed", "exit:1")


def test_a_driver_that_does_not_answer_delays_an_end_until_it_is_told_again() -> None:
    """As the keeper does at each of its ticks."""
    world = World(gpus=1, at_once=False)
    job = world.job(1)
    world.report_end(job, "exit:1", 1)
    world.report_end(job, "exit:1", 1)
    assert world.store.jobs[job].exit_class == "exit:1"
    world.look()  # An answer that comes too late changes nothing.
    assert world.store.jobs[job].exit_class == "exit:1"


def test_a_cancel_while_the_gpu_is_looked_at_makes_it_cancelled() -> None:
    world = World(gpus=1, at_once=False)
    job = world.job(1)
    break_unseen(world, 0)
    world.report_end(job, "exit:1", 1)
    world.cancel(job)
    world.look()
    assert (world.store.jobs[job].status, last_attempt(world).exit_class) == ("cancelled", "exit:1")


def test_a_scheduler_that_forgot_asks_again() -> None:
    world = World(gpus=1, at_once=False)
    job = world.job(1)
    run = world.live[world.fence(job)].run
    world.report_end(job, "exit:1", 1)
    world.live[world.fence(job)] = WantRun(run=run)
    world.restart()
    world.to_look_at.clear()
    break_unseen(world, 0)
    world.report_end(job, "exit:1", 1)
    world.look()
    assert last_attempt(world).exit_class == "gpu_fault"


@pytest.mark.parametrize(
    ("gpus", "at_once", "exit_class"),
    [(0, False, "exit:1"), (1, True, "exit:1"), (1, False, "completed"), (1, False, "timeout"), (1, False, "lost")],
)
def test_nobody_else_is_delayed(gpus: int, at_once: bool, exit_class: str) -> None:
    world = World(gpus=1, at_once=at_once)
    job = world.job(gpus)
    world.report_end(job, exit_class, 0)
    assert world.to_look_at == []
    assert last_attempt(world).exit_class == exit_class


def test_a_fault_that_is_known_already_needs_no_look() -> None:
    world = World(gpus=1, at_once=False)
    job = world.job(1)
    break_gpu(world, 0, fault=XID)
    world.report_end(job, "exit:1", 1)
    assert world.to_look_at == []
    assert last_attempt(world).exit_class == "gpu_fault"
