"""`doctor`: each trouble is found and says what to do; failures are exit code 1, warnings are not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpuyard import __version__
from gpuyard.cli.doctor import data, machine
from gpuyard.cli.doctor.finding import Finding, Level
from tests.unit.cli.conftest import Gpuyard
from tests.unit.cli.recorder import Answer, Recorder
from tests.unit.cli.test_verbs import STATS, SYSTEM


def levels(findings: list[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder as the server makes it."""
    monkeypatch.setenv("GPUYARD_CONFIG_FILE", str(tmp_path / "none.toml"))
    found = tmp_path / "data"
    found.mkdir(mode=0o700)
    return found


@pytest.fixture
def healthy(server: Recorder) -> Recorder:
    server.on("GET", "/healthz", Answer({"status": "ok", "version": __version__}))
    server.on("GET", "/readyz", Answer({"ready": True}))
    server.on("GET", "/api/system/status", lambda _: Answer({**SYSTEM, "timestamp": time.time(), "gpu_allocation": {}}))
    server.on("GET", "/api/queue/stats", Answer(STATS))
    server.on("GET", "/api/cloud/providers", Answer({"providers": []}))
    server.on("GET", "/api/configs", Answer({"configs": [{"name": "tiny", "file": "tiny.toml"}]}))
    server.on("POST", "/api/configs/tiny/validate", Answer({"valid": True, "errors": []}))
    return server


def examined(gpuyard: Gpuyard, folder: Path) -> dict[str, list[dict[str, str]]]:
    """The findings by what they are about."""
    found: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(gpuyard("doctor", "--data-dir", str(folder), "--format", "json").stdout):
        found.setdefault(finding["about"], []).append(finding)
    return found


def test_cloud_providers_that_take_no_jobs_are_found_and_those_that_nobody_configured_are_not(
    gpuyard: Gpuyard, healthy: Recorder, folder: Path
) -> None:
    misspelt = "[providers.slurm] has no setting partitions: do you mean partition?"
    providers = [
        {"name": "replicate", "health": "not_configured", "why": "write its API token into a file", "running": 0},
        {"name": "slurm", "health": "not_configured", "why": misspelt, "running": 0},
        {"name": "ray", "health": "down", "why": "it cannot be reached", "running": 2},
        {"name": "moon", "health": "ok", "why": "", "running": 3},
    ]
    healthy.on("GET", "/api/cloud/providers", Answer({"providers": providers}))
    slurm, ray, moon = examined(gpuyard, folder)["cloud"]
    assert slurm["level"] == "warning" and misspelt in slurm["text"]
    assert ray["level"] == "warning" and ray["do"] == "gpuyard cloud providers test ray"
    assert (moon["level"], moon["text"]) == ("ok", "moon takes jobs, 3 there")


def test_a_healthy_place_has_no_failure(gpuyard: Gpuyard, healthy: Recorder, folder: Path) -> None:
    result = gpuyard("doctor", "--data-dir", str(folder))
    assert result.exit_code == 0, result.output
    assert "0 failures" in result.stderr
    found = examined(gpuyard, folder)
    assert found["server"][0]["level"] == "ok"
    assert found["configs"] == [{"level": "ok", "about": "configs", "text": "1 config, all valid", "do": ""}]


def test_every_trouble_says_what_to_do(gpuyard: Gpuyard, healthy: Recorder, folder: Path) -> None:
    broken = {"error": "NVML: driver/library version mismatch", "backend": "cuda", "count": 0}
    gpu = {"index": 1, "state": "busy_external", "reason": "process 4711 uses 1.0 GB"}
    off = time.time() - 3600
    status = {**SYSTEM, "timestamp": off, "gpu_inventory": broken, "gpu_allocation": {"devices": [gpu]}}
    healthy.on("GET", "/api/system/status", Answer(status))
    stats = {**STATS, "processing_held": True, "store_error": "the disk is full", "paused": ["cloud"]}
    healthy.on("GET", "/api/queue/stats", Answer(stats))
    healthy.on("POST", "/api/configs/tiny/validate", Answer({"valid": False, "errors": ["command must be a list"]}))
    healthy.on("GET", "/healthz", Answer({"version": "0.0.1"}))
    found = examined(gpuyard, folder)
    assert any("clock is -" in finding["text"] for finding in found["clock"])
    assert any("version mismatch" in finding["text"] and finding["level"] == "failure" for finding in found["gpus"])
    assert any("process 4711" in finding["text"] for finding in found["gpus"])
    assert any(finding["text"] == "the disk is full" for finding in found["database"])
    assert [finding["do"] for finding in found["queue"]] == ["gpuyard queue process", "gpuyard queue resume"]
    assert "command must be a list" in found["configs"][0]["text"]
    assert "0.0.1" in found["server"][0]["text"]
    for about in found.values():
        for finding in about:
            assert finding["level"] == "ok" or finding["do"], finding
    assert gpuyard("doctor", "--data-dir", str(folder)).exit_code == 1


def test_no_server_is_a_warning(gpuyard: Gpuyard, folder: Path) -> None:
    result = gpuyard("doctor", "--data-dir", str(folder), "--server", "http://127.0.0.1:1")
    assert result.exit_code == 0, result.output
    assert "gpuyard server" in result.stdout


def test_a_damaged_database_is_a_failure(gpuyard: Gpuyard, healthy: Recorder, folder: Path) -> None:
    (folder / "jobs.db").write_bytes(b"this was a database once " * 1000)
    (finding,) = examined(gpuyard, folder)["database"]
    assert finding["level"] == "failure"
    assert "gpuyard db restore" in finding["do"]


def test_a_bad_setting_is_named(gpuyard: Gpuyard, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUYARD_PORT", "many")
    result = gpuyard("doctor", "--data-dir", str(folder))
    assert result.exit_code == 1
    assert "port" in result.stdout and "gpuyard config show" in result.stdout


def test_a_folder_that_others_may_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (finding,) = data.rights(tmp_path)
    assert finding.level is Level.WARNING
    assert finding.do == f"chmod 700 {tmp_path}"
    tmp_path.chmod(0o700)
    assert levels(list(data.rights(tmp_path))) == [Level.OK]


def test_secrets_that_others_may_read_are_found(tmp_path: Path) -> None:
    assert list(data.secrets(tmp_path / "secrets")) == []
    (tmp_path / "secrets/1").mkdir(parents=True, mode=0o700)
    (tmp_path / "secrets/1/hf").touch(mode=0o600)
    assert list(data.secrets(tmp_path / "secrets")) == []
    (tmp_path / "secrets/1/hf").chmod(0o640)
    (finding,) = data.secrets(tmp_path / "secrets")
    assert finding.level is Level.FAILURE and "1 file" in finding.text and "chmod -R go=" in finding.do


@pytest.mark.parametrize(("free", "level"), [(10**12, Level.OK), (10**9, Level.WARNING), (10**6, Level.FAILURE)])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: Level) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2 * free, free, free))
    assert levels(list(data.disk(tmp_path))) == [level]


def test_simulated_gpus_are_read(tmp_path: Path) -> None:
    (finding,) = data.gpus(tmp_path, "3:A100:40", lambda reading: iter(()))
    assert finding == Finding(Level.OK, "gpus", "3 GPUs (simulated)")


def test_few_open_files_are_warned_of(tmp_path: Path) -> None:
    """In a process whose limit is really low."""
    script = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
    script += "from gpuyard.cli.doctor import machine; print(*[f.level for f in machine.limits()])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "warning" in done.stdout


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/gpuyard.service\n", "gpuyard.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/gy.service/run\n", "gy.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope\n", None),
        ("0::/\n", None),
    ],
)
def test_the_service_of_a_process(cgroups: str, unit: str | None) -> None:
    assert machine.unit_in(cgroups) == unit


def test_a_service_that_would_kill_its_runs_is_a_failure() -> None:
    findings = list(machine.judged("gpuyard.service", {"KillMode": "control-group", "Delegate": "no"}))
    assert levels(findings) == [Level.FAILURE, Level.NOTE]
    assert "KillMode=process" in findings[0].do
    assert levels(list(machine.judged("g.service", {"KillMode": "process", "Delegate": "yes"}))) == [Level.OK]


def test_this_machine_can_run_a_server() -> None:
    findings = [*machine.python(), *machine.kernel(), *machine.clock(), *machine.control_groups()]
    assert Level.FAILURE not in levels(findings)
