"""Processes on the GPUs: ours, other people's, and those that cannot be known."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from tests.contract.nvml.conftest import StartProcess, Watching
from tests.fake_nvml import GIB, Script
from tests.support import eventually

# Above the largest pid that Linux gives out: as a host's pid looks inside a container.
NOT_HERE = 4_194_305


def test_a_foreign_process_comes_is_named_and_goes(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    gpu, other = script.add_gpu(), script.add_gpu()
    allocator = watching()
    allocator.until_gpu(gpu.uuid, lambda fact: fact.usable)
    foreigner = start_process()
    script.add_process(gpu, foreigner.pid, 12)
    fact = allocator.until_gpu(gpu.uuid, lambda fact: not fact.usable)
    assert [(p.pid, p.memory_bytes, p.user) for p in fact.foreign] == [(foreigner.pid, 12 * GIB, getpass.getuser())]
    assert fact.foreign[0].name.startswith("python")
    assert allocator.until_gpu(other.uuid, lambda fact: fact.usable)
    foreigner.end()
    script.remove_process(gpu, foreigner.pid)
    assert allocator.until_gpu(gpu.uuid, lambda fact: fact.usable).foreign == ()


def test_a_process_of_a_run_is_ours_also_before_the_run_is_known(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    gpu = script.add_gpu()
    script.add_process(gpu, start_process(fence=7).pid, 30)
    allocator = watching()
    assert allocator.last().gpus[0].foreign == ()
    allocator.start(7, gpu.uuid)
    assert allocator.fresh().gpus[0].foreign == ()


def test_a_run_that_ignores_which_gpu_it_was_given_is_foreign_on_the_other(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    given, taken = script.add_gpu(), script.add_gpu()
    run = start_process(fence=7)
    allocator = watching()
    allocator.start(7, given.uuid)
    for gpu in (given, taken):
        script.add_process(gpu, run.pid, 3)
    fact = allocator.until_gpu(taken.uuid, lambda fact: fact.foreign)
    assert (fact.foreign[0].pid, "(of run 7)" in fact.foreign[0].name) == (run.pid, True)
    assert allocator.fresh().gpus[0].foreign == ()


def test_a_run_of_another_server_on_this_machine_is_foreign(
    script: Script, watching: Watching, start_process: StartProcess, tmp_path: Path
) -> None:
    gpu = script.add_gpu()
    theirs = start_process(fence=7, folder=tmp_path / "their data")
    script.add_process(gpu, theirs.pid, 3)
    assert [p.pid for p in watching().last().gpus[0].foreign] == [theirs.pid]


def test_host_pids_in_a_container_say_nothing_but_their_memory_does(script: Script, watching: Watching) -> None:
    gpu = script.add_gpu()
    script.add_process(gpu, NOT_HERE, 12)
    allocator = watching()
    assert [(p.pid, p.memory_bytes) for p in allocator.last().gpus[0].foreign] == [(0, 12 * GIB)]
    script.set_used(gpu, 0.4)
    assert allocator.until_gpu(gpu.uuid, lambda fact: fact.usable)


def test_host_pids_on_a_gpu_that_we_hold_are_taken_for_ours(script: Script, watching: Watching) -> None:
    gpu = script.add_gpu()
    allocator = watching(look_seconds=0.0)
    allocator.start(7, gpu.uuid)
    script.add_process(gpu, NOT_HERE, 60)
    allocator.until_gpu(gpu.uuid, lambda fact: fact.memory_used)
    assert allocator.fresh().gpus[0].foreign == ()
    assert allocator.foreign_seen() == []


def test_a_desktop_is_nobody_until_it_fills_the_gpu(script: Script, watching: Watching) -> None:
    gpu = script.add_gpu(memory_gb=24)
    script.add_process(gpu, 1, 0.9, kind="graphics")
    allocator = watching()
    assert allocator.last().gpus[0].usable
    script.remove_process(gpu, 1)
    script.add_process(gpu, 1, 10, kind="graphics")
    assert [p.pid for p in allocator.until_gpu(gpu.uuid, lambda fact: fact.foreign).foreign] == [1]


def test_one_that_computes_and_draws_counts_once(script: Script, watching: Watching) -> None:
    gpu = script.add_gpu()
    script.add_process(gpu, 1, 2)
    script.change(gpu, rules=["graphics 1 5"])
    assert [(p.pid, p.memory_bytes) for p in watching().last().gpus[0].foreign] == [(1, 2 * GIB)]


def test_many_processes_are_all_listed(script: Script, watching: Watching) -> None:
    gpu = script.add_gpu()
    for pid in range(NOT_HERE, NOT_HERE + 59):
        script.add_process(gpu, pid, 0.001)
    script.add_process(gpu, 1, 0.001)
    assert [p.pid for p in watching().last().gpus[0].foreign] == [1]


@pytest.mark.parametrize("external", ["warn", "ignore"])
def test_settings_may_let_foreigners_pass(script: Script, watching: Watching, external: str) -> None:
    gpu = script.add_gpu()
    script.add_process(gpu, 1, 12)
    fact = watching(external=external).last().gpus[0]
    assert fact.usable
    assert [p.pid for p in fact.tolerated] == ([1] if external == "warn" else [])


def test_a_foreigner_on_a_gpu_of_a_run_is_told_some_time_after_its_start(
    script: Script, watching: Watching, start_process: StartProcess
) -> None:
    gpu = script.add_gpu()
    script.add_process(gpu, start_process(fence=7).pid, 30)
    foreigner = start_process()
    script.add_process(gpu, foreigner.pid, 1)
    allocator = watching(look_seconds=0.1)
    allocator.start(7, gpu.uuid)
    seen = eventually(allocator.foreign_seen)
    assert [(s.fence, s.uuid, [p.pid for p in s.processes]) for s in seen] == [(7, gpu.uuid, [foreigner.pid])]
