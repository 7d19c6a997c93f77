"""Which GPUs there are, in which order, and what a driver or card does not tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.nvml.conftest import Watching
from tests.fake_nvml import FUNCTION_NOT_FOUND, GIB, NO_PERMISSION, NOT_SUPPORTED, Script
from tests.support_gpu import by_uuid

OPTIONAL = {
    "nvmlDeviceGetUtilizationRates": "utilization",
    "nvmlDeviceGetPowerUsage": "power_w",
}


def test_four_gpus_with_all_that_is_known_of_them(script: Script, watching: Watching) -> None:
    for number in range(4):
        gpu = script.add_gpu(name=f"NVIDIA Test {number}", memory_gb=24)
        script.change(
            gpu, utilization=number, temperature=40 + number, power_mw=100_500 + number, used=number * GIB // 8
        )
    facts = watching().last()
    assert facts.backend == "cuda"
    assert not facts.at_once
    assert [
        (f.index, f.uuid, f.name, f.memory_total, f.memory_used, f.utilization, f.temperature_c, f.power_w)
        for f in facts.gpus
    ] == [
        (n, f"GPU-0000000{n}", f"NVIDIA Test {n}", 24 * GIB, n * GIB // 8, n, 40 + n, (100_500 + n) / 1000)
        for n in range(4)
    ]
    assert all(fact.usable for fact in facts.gpus)


def test_a_machine_with_the_library_and_no_gpu(watching: Watching) -> None:
    facts = watching().last()
    assert (facts.gpus, facts.error) == ((), None)


def test_indices_are_those_of_cuda_by_pci_address(script: Script, watching: Watching) -> None:
    """NVML promises no order; CUDA_VISIBLE_DEVICES counts by the bus (CUDA_DEVICE_ORDER=PCI_BUS_ID)."""
    for bus in (0x4B, 0x1B, 0x9B):
        gpu = script.add_gpu(f"GPU-bus-{bus:02x}")
        script.change(gpu, bus=bus)
    assert [fact.uuid for fact in watching().last().gpus] == ["GPU-bus-1b", "GPU-bus-4b", "GPU-bus-9b"]


def test_a_gpu_that_we_may_not_open_is_not_counted_as_cuda_does_not(script: Script, watching: Watching) -> None:
    script.fail("nvmlDeviceGetHandleByIndex_v2", NO_PERMISSION, script.add_gpu("GPU-not-ours"))
    script.add_gpu("GPU-ours")
    assert [(fact.index, fact.uuid) for fact in watching().last().gpus] == [(0, "GPU-ours")]


@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND, 999])
def test_what_a_driver_does_not_tell_is_none_and_the_gpu_is_used(script: Script, watching: Watching, code: int) -> None:
    gpu = script.add_gpu()
    for function in (*OPTIONAL, "nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV", "nvmlDeviceGetTotalEccErrors"):
        script.fail(function, code, gpu)
    for function in ("nvmlEventSetCreate", "nvmlDeviceGetMigMode"):
        script.fail(function, code)
    fact = watching().last().gpus[0]
    assert (fact.utilization, fact.temperature_c, fact.power_w) == (None, None, None)
    assert fact.usable


def test_an_old_driver_has_only_the_older_calls(script: Script, watching: Watching) -> None:
    gpu = script.add_gpu()
    script.add_process(gpu, 999_999_999, 7)
    script.add_process(gpu, 1, 5)
    for name in ("ComputeRunningProcesses_v3", "GraphicsRunningProcesses_v3", "MemoryInfo_v2", "TemperatureV"):
        script.fail(f"nvmlDeviceGet{name}", FUNCTION_NOT_FOUND)
    fact = watching().last().gpus[0]
    assert (fact.memory_used, fact.temperature_c) == (12 * GIB, 33)
    assert [p.pid for p in fact.foreign] == [1]


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, 999])
def test_where_processes_cannot_be_listed_memory_tells(script: Script, watching: Watching, code: int) -> None:
    free, used = script.add_gpu(), script.add_gpu()
    script.add_process(used, 1, 5)
    for kind in ("Compute", "Graphics"):
        for version in (2, 3):
            script.fail(f"nvmlDeviceGet{kind}RunningProcesses_v{version}", code)
    facts = by_uuid(watching().last())
    assert facts[free.uuid].usable
    assert [(p.pid, p.memory_bytes) for p in facts[used.uuid].foreign] == [(0, 5 * GIB)]


def test_identity_is_the_uuid_when_a_reboot_changes_the_order(script: Script, watching: Watching) -> None:
    first, second = script.add_gpu("GPU-first"), script.add_gpu("GPU-second")
    before = watching()
    assert [fact.uuid for fact in before.last().gpus] == ["GPU-first", "GPU-second"]
    before.set_aside("GPU-first", "exclude")
    first.bus, second.bus = 9, 3
    script.write()
    after = watching().last()
    assert [(fact.index, fact.uuid, fact.excluded) for fact in after.gpus] == [
        (0, "GPU-second", False),
        (1, "GPU-first", True),
    ]


def test_gpus_are_kept_out_by_index_by_uuid_and_by_hand(script: Script, watching: Watching, tmp_path: Path) -> None:
    uuids = [script.add_gpu().uuid for _ in range(4)]
    allocator = watching(excluded=("0", uuids[2]))
    assert [fact.excluded for fact in allocator.last().gpus] == [True, False, True, False]
    allocator.set_aside(uuids[3], "exclude")
    allocator.set_aside(uuids[0], "include")
    restarted = watching(excluded=("0", uuids[2]))
    assert [fact.usable for fact in restarted.last().gpus] == [True, True, False, False]


def test_mig_devices_are_listed_instead_of_their_gpu(script: Script, watching: Watching) -> None:
    whole, split = script.add_gpu(), script.add_gpu()
    allocator = watching()
    assert len(allocator.last().gpus) == 2
    script.enable_mig(split, 40, 20)
    script.add_process(split.parts[1], 1, 7)
    facts = allocator.until(lambda facts: len(facts.gpus) == 3)
    assert [(fact.index, fact.uuid, fact.mig, fact.memory_total // GIB) for fact in facts.gpus] == [
        (0, whole.uuid, False, 80),
        (200, split.parts[0].uuid, True, 40),
        (201, split.parts[1].uuid, True, 20),
    ]
    assert [fact.usable for fact in facts.gpus] == [True, True, False]
    assert [p.pid for p in facts.gpus[2].foreign] == [1]
    script.change(split, mig=False, parts=[])
    assert [fact.uuid for fact in allocator.until(lambda facts: len(facts.gpus) == 2).gpus] == [whole.uuid, split.uuid]


def test_mig_mode_without_a_device_is_a_fault_that_says_what_to_do(script: Script, watching: Watching) -> None:
    gpu = script.add_gpu()
    script.enable_mig(gpu)
    allocator = watching()
    assert "no MIG device exists: create some, or turn it off" in str(allocator.last().gpus[0].fault)
    script.change(gpu, mig=False)
    assert allocator.until_gpu(gpu.uuid, lambda fact: fact.usable)
