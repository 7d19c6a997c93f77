"""The promises about GPUs, on a real one: inventory, indices, foreign processes, memory that comes back."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.model.gpu import GpuFact
from gpuyard.actors.model.ledger import FACTS_MAX_AGE
from tests.gpu.conftest import Hog
from tests.support import eventually
from tests.support_gpu import Allocator, by_uuid

GIB = 1024**3
SIZE = 4.0
FENCE = 1 << 40

Watching = Callable[..., Allocator]
StartHog = Callable[..., Hog]


def ours(folder: Path) -> dict[str, str]:
    """What the keeper gives a run."""
    return {"GPUYARD_FENCE": str(FENCE), "GPUYARD_JOB_DIR": str(folder / "jobs" / "j1")}


def test_the_inventory_is_the_drivers(watching: Watching) -> None:
    facts = watching().last()
    assert facts.backend == "cuda"
    assert facts.gpus
    for fact in facts.gpus:
        assert fact.uuid.startswith(("GPU-", "MIG-"))
        assert fact.name
        assert fact.memory_total > GIB
        assert 0 <= fact.memory_used <= fact.memory_total
        assert fact.utilization is None or 0 <= fact.utilization <= 100
        assert fact.temperature_c is None or 0 < fact.temperature_c < 120
        assert fact.power_w is None or 0 < fact.power_w < 2000
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return
    listed = subprocess.run(
        [smi, "--query-gpu=uuid,name", "--format=csv,noheader"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    whole = {(fact.uuid, fact.name) for fact in facts.gpus if not fact.mig}
    assert whole <= {(uuid, name) for uuid, name in (line.split(", ", 1) for line in listed)}


def test_indices_are_what_cuda_visible_devices_takes(watching: Watching, hog: StartHog) -> None:
    for fact in watching().last().gpus:
        if not fact.mig:
            by_index = hog(0.01, CUDA_VISIBLE_DEVICES=str(fact.index))
            assert (by_index.uuid, by_index.visible) == (fact.uuid, 1)
            by_name = hog(0.01, CUDA_VISIBLE_DEVICES=fact.uuid)
            assert (by_name.uuid, by_name.visible) == (fact.uuid, 1)


def test_a_foreign_process_is_seen_and_its_end_too(watching: Watching, gpu: GpuFact, hog: StartHog) -> None:
    allocator = watching()
    program = hog(SIZE, CUDA_VISIBLE_DEVICES=str(gpu.index))
    seen = allocator.until_gpu(gpu.uuid, lambda fact: fact.foreign)
    (process,) = seen.foreign
    # Inside a container the driver's pids say nothing: then memory alone tells.
    assert process.pid in (program.pid, 0)
    assert process.memory_bytes is None or process.memory_bytes >= SIZE * GIB
    assert not seen.usable
    program.kill()
    assert allocator.until_gpu(gpu.uuid, lambda fact: fact.usable)


def test_a_run_of_ours_is_not_foreign(watching: Watching, gpu: GpuFact, hog: StartHog, tmp_path: Path) -> None:
    allocator = watching(look_seconds=0.5)
    allocator.start(FENCE, gpu.uuid)
    hog(SIZE, CUDA_VISIBLE_DEVICES=str(gpu.index), **ours(tmp_path))
    allocator.until_gpu(gpu.uuid, lambda fact: fact.memory_used >= SIZE * GIB)
    assert by_uuid(allocator.fresh(5))[gpu.uuid].foreign == ()
    assert allocator.foreign_seen() == []


@pytest.mark.parametrize("known_before", [True, False])
def test_memory_is_back_after_a_kill_and_only_then_is_the_gpu_empty(
    watching: Watching, gpu: GpuFact, hog: StartHog, tmp_path: Path, known_before: bool
) -> None:
    """`known_before` False: the server was restarted while the run lived."""
    program = None if known_before else hog(SIZE, CUDA_VISIBLE_DEVICES=str(gpu.index), **ours(tmp_path))
    allocator = watching()
    if known_before:
        allocator.start(FENCE, gpu.uuid)
    program = program or hog(SIZE, CUDA_VISIBLE_DEVICES=str(gpu.index), **ours(tmp_path))
    allocator.until_gpu(gpu.uuid, lambda fact: fact.memory_used >= SIZE * GIB)
    allocator.release(FENCE, gpu.uuid)
    allocator.fresh(3)
    assert allocator.emptied() == set()
    program.kill()
    eventually(lambda: allocator.emptied() == {(FENCE, gpu.uuid)}, 60)
    fact = by_uuid(allocator.last())[gpu.uuid]
    assert fact.usable
    assert fact.memory_used < gpu.memory_used + GIB


def test_facts_are_young_enough_to_hand_a_gpu_out(watching: Watching) -> None:
    """With the settings as they ship: a reading each second, each well under a second."""
    shipped = GpuSettings()
    allocator = watching(poll=shipped.poll, timeout=shipped.timeout)
    before = allocator.fresh(1)
    after = allocator.fresh(1)
    assert after.observed_at - before.observed_at < FACTS_MAX_AGE
