"""After a run: empty, taken over, or quarantined with the culprits."""

from __future__ import annotations

from gpuyard.actors.model.clock import ManualClock
from tests.contract.nvml.conftest import StartProcess, Watching
from tests.fake_nvml import FakeGpu, Script
from tests.support import eventually
from tests.support_gpu import Allocator

NOT_HERE = 4_194_305


def run_on(allocator: Allocator, script: Script, gpu: FakeGpu, pid: int) -> None:
    """Run 7 lives on the GPU, which was seen idle before."""
    allocator.until_gpu(gpu.uuid, lambda fact: fact.usable)
    allocator.start(7, gpu.uuid)
    script.add_process(gpu, pid, 30)
    allocator.until_gpu(gpu.uuid, lambda fact: fact.memory_used)


def test_a_gpu_is_handed_on_when_process_and_memory_are_gone_and_not_before(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    gpu = script.add_gpu()
    allocator, run = watching(), start_process(fence=7)
    run_on(allocator, script, gpu, run.pid)
    allocator.release(7, gpu.uuid)
    allocator.fresh()
    assert allocator.emptied() == set()
    run.end()
    script.remove_process(gpu, run.pid, leak_gb=4)
    allocator.until_gpu(gpu.uuid, lambda fact: fact.memory_used == 4 * 2**30)
    allocator.fresh()
    assert allocator.emptied() == set()
    script.set_used(gpu, 0.01)
    eventually(lambda: allocator.emptied() == {(7, gpu.uuid)})
    assert allocator.last().gpus[0].usable


def test_in_a_container_the_memory_alone_tells(script: Script, watching: Watching) -> None:
    gpu = script.add_gpu()
    allocator = watching()
    run_on(allocator, script, gpu, NOT_HERE)
    allocator.release(7, gpu.uuid)
    allocator.fresh()
    assert allocator.emptied() == set()
    script.remove_process(gpu, NOT_HERE)
    eventually(lambda: allocator.emptied() == {(7, gpu.uuid)})


def test_memory_left_behind_is_a_quarantine_after_a_minute_that_heals(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    gpu, clock = script.add_gpu(), ManualClock()
    allocator, run = watching(clock), start_process(fence=7)
    run_on(allocator, script, gpu, run.pid)
    run.end()
    script.remove_process(gpu, run.pid, leak_gb=4)
    allocator.release(7, gpu.uuid)
    clock.advance(59)
    allocator.fresh()
    assert allocator.emptied() == set()
    clock.advance(1)
    fact = allocator.until_gpu(gpu.uuid, lambda fact: fact.fault)
    assert fact.fault == "run 7 left memory behind: 4.0 GiB in use and no process is listed"
    eventually(lambda: allocator.emptied() == {(7, gpu.uuid)})
    script.set_used(gpu, 0)
    assert allocator.until_gpu(gpu.uuid, lambda fact: fact.usable)


def test_a_process_that_does_not_leave_is_the_culprit(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    gpu, clock = script.add_gpu(), ManualClock()
    allocator, run = watching(clock), start_process(fence=7)
    run_on(allocator, script, gpu, run.pid)
    allocator.release(7, gpu.uuid)
    allocator.fresh()
    clock.advance(60)
    fact = allocator.until_gpu(gpu.uuid, lambda fact: fact.fault)
    assert f"run 7 ended but is still on it: pid {run.pid} (python" in str(fact.fault)
    assert fact.foreign == ()
    eventually(lambda: allocator.emptied() == {(7, gpu.uuid)})
    run.end()
    script.remove_process(gpu, run.pid)
    assert allocator.until_gpu(gpu.uuid, lambda fact: fact.usable)


def test_a_quarantine_is_lifted_by_hand(script: Script, watching: Watching) -> None:
    gpu, clock = script.add_gpu(), ManualClock()
    allocator = watching(clock)
    run_on(allocator, script, gpu, NOT_HERE)
    script.remove_process(gpu, NOT_HERE, leak_gb=4)
    allocator.release(7, gpu.uuid)
    allocator.fresh()
    clock.advance(60)
    allocator.until_gpu(gpu.uuid, lambda fact: fact.fault)
    allocator.set_aside(gpu.uuid, "clear")
    assert allocator.last().gpus[0].usable
    assert allocator.fresh().gpus[0].usable


def test_a_foreigner_that_came_meanwhile_makes_it_busy_not_quarantined(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    gpu, clock = script.add_gpu(), ManualClock()
    allocator, run, foreigner = watching(clock), start_process(fence=7), start_process()
    run_on(allocator, script, gpu, run.pid)
    run.end()
    script.remove_process(gpu, run.pid)
    script.add_process(gpu, foreigner.pid, 8)
    allocator.release(7, gpu.uuid)
    eventually(lambda: allocator.emptied() == {(7, gpu.uuid)})
    clock.advance(60)
    fact = allocator.fresh().gpus[0]
    assert ([p.pid for p in fact.foreign], fact.fault) == ([foreigner.pid], None)


def test_the_gpus_of_one_run_are_handed_on_one_by_one(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    first, second = script.add_gpu(), script.add_gpu()
    allocator, run = watching(), start_process(fence=7)
    for gpu in (first, second):
        script.add_process(gpu, run.pid, 30)
    allocator.start(7, first.uuid, second.uuid)
    allocator.release(7, first.uuid, second.uuid)
    script.remove_process(first, run.pid)
    eventually(lambda: allocator.emptied() == {(7, first.uuid)})
    script.remove_process(second, run.pid)
    eventually(lambda: allocator.emptied() == {(7, first.uuid), (7, second.uuid)})


def test_a_release_is_watched_after_a_restart_too(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    gpu, run = script.add_gpu(), start_process(fence=7)
    script.add_process(gpu, run.pid, 30)
    allocator = watching()
    allocator.release(7, gpu.uuid)
    allocator.fresh()
    assert allocator.emptied() == set()
    script.remove_process(gpu, run.pid)
    eventually(lambda: allocator.emptied() == {(7, gpu.uuid)})


def test_a_gpu_that_is_lost_with_its_run_frees_the_hold_and_is_missing(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    gpu, run = script.add_gpu(), start_process(fence=7)
    allocator = watching()
    run_on(allocator, script, gpu, run.pid)
    script.lose(gpu)
    allocator.release(7, gpu.uuid)
    eventually(lambda: allocator.emptied() == {(7, gpu.uuid)})
    assert allocator.last().gpus[0].missing
