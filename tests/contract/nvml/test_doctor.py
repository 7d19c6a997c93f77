"""What `gpuyard doctor` says of a reading of the GPUs: who is on them, and who should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuyard.actors.gpu.nvml_probe import NvmlProbe
from gpuyard.actors.gpu.settings import GpuSettings
from gpuyard.actors.model.attempt import GpuRef
from gpuyard.actors.model.commands import Commit
from gpuyard.actors.model.ids import make_fence
from gpuyard.actors.store import groups
from gpuyard.cli.doctor import runs
from gpuyard.cli.doctor.finding import Finding, Level
from tests.contract.gpu.benches import read
from tests.contract.nvml.conftest import StartProcess
from tests.fake_nvml import FakeGpu, Script
from tests.support_store import opened, started, submitted

FENCE = make_fence(1, 1)


@pytest.fixture
def gpu(script: Script) -> FakeGpu:
    return script.add_gpu()


@pytest.fixture
def database(tmp_path: Path, gpu: FakeGpu) -> Path:
    """Run 1 has the GPU."""
    path = tmp_path / "jobs.db"
    with opened(path) as database:
        rows = (*submitted(1), *started(1, 1, GpuRef(gpu.uuid, 0)))
        assert groups.write(database, [Commit(generation=1, number=1, rows=rows)]).done == 1
    return path


def findings(script: Script, database: Path) -> list[Finding]:
    probe = NvmlProbe(GpuSettings(data_dir=database.parent), script.env())
    try:
        return list(runs.on_gpus(database)(read(probe)))
    finally:
        probe.close()


def test_a_run_on_its_own_gpu_is_fine(
    script: Script, gpu: FakeGpu, database: Path, start_process: StartProcess
) -> None:
    script.add_process(gpu, start_process(fence=FENCE).pid, 1)
    assert findings(script, database) == []


def test_two_runs_on_one_gpu_are_found(
    script: Script, gpu: FakeGpu, database: Path, start_process: StartProcess
) -> None:
    other = FENCE + 1
    for fence in (FENCE, other):
        script.add_process(gpu, start_process(fence=fence).pid, 1)
    twice, not_given = findings(script, database)
    assert (twice.level, not_given.level) == (Level.FAILURE, Level.FAILURE)
    assert "GPU 0 is used by 2 runs at once" in twice.text
    assert f"run {other}" in not_given.text and "which it was not given" in not_given.text


def test_somebody_else_on_the_gpu_of_a_run_is_a_warning_that_names_the_pid(
    script: Script, gpu: FakeGpu, database: Path, start_process: StartProcess
) -> None:
    """Such as what is left of a run that cleared its environment, and whose keeper was killed."""
    pid = start_process().pid
    script.add_process(gpu, pid, 1)
    (finding,) = findings(script, database)
    assert finding.level is Level.WARNING
    assert f"pid {pid}" in finding.text and f"which run {FENCE} has" in finding.text and f"kill {pid}" in finding.do


def test_without_a_database_nothing_is_said(script: Script, gpu: FakeGpu, tmp_path: Path) -> None:
    assert findings(script, tmp_path / "none" / "jobs.db") == []
