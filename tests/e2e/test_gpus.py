"""A real server on NVML (the real pynvml, on a fake driver library), and on simulated GPUs: who gets a GPU, when, and
why not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.fake_nvml import Script
from tests.fake_nvml.fixtures import fake_nvml_library, script
from tests.support import eventually

__all__ = ["fake_nvml_library", "script"]

SLEEP = ("sleep", "600")


@pytest.fixture
def server(make_server: MakeServer, script: Script) -> Server:
    """Two GPUs of 80 GiB; up to two local jobs."""
    script.add_gpu()
    script.add_gpu()
    return started(make_server, script)


def started(make_server: MakeServer, script: Script, **environ: str) -> Server:
    seen = {name: value for name, value in script.env().items() if name in ("LD_LIBRARY_PATH", "FAKE_NVML_SCRIPT")}
    server = make_server(gpus=None, **seen, **environ).start()
    server.limits(local_job_max_concurrent=2)
    return server


@pytest.fixture
def foreigner() -> Iterator[int]:
    """A process from outside the queue."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process.pid


def devices(server: Server) -> list[dict[str, Any]]:
    allocation = server.get("/api/system/status?include_allocation=true").body["gpu_allocation"]
    found: list[dict[str, Any]] = allocation["devices"]
    return found


def states(server: Server) -> list[str]:
    return [device["state"] for device in devices(server)]


def reasons(server: Server, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.job(job_id)["reasons"]
    return found


def run_on(server: Server, script: Script, index: int = 0) -> dict[str, Any]:
    """A job on the GPU, whose program the driver lists there with 30 GiB."""
    job = server.wait_phase(server.submit(*SLEEP)["job_id"])
    assert job["allocated_gpus"] == [index]
    script.add_process(script.gpus[index], pid_of(server, job), 30)
    return job


def pid_of(server: Server, job: dict[str, Any]) -> int:
    return int(server.job(job["job_id"])["attempts"][-1]["pid"])


def test_a_gpu_used_from_outside_is_not_handed_out_and_the_reason_names_pid_and_memory(
    server: Server, script: Script, foreigner: int
) -> None:
    assert states(server) == ["free", "free"]
    script.add_process(script.gpus[0], foreigner, 12)
    eventually(lambda: states(server) == ["busy_external", "free"])
    assert server.submit(*SLEEP)["allocated_gpus"] == [1]
    waiting = server.submit(*SLEEP)
    assert waiting["status"] == "queued"
    (reason,) = [r for r in reasons(server, waiting["job_id"]) if r["code"] == "ForeignProcess"]
    assert str(foreigner) in reason["text"]
    assert "12" in reason["text"]
    script.remove_process(script.gpus[0], foreigner)
    assert server.wait(waiting["job_id"], "running")["allocated_gpus"] == [0]


def test_a_gpu_is_handed_on_only_when_its_memory_is_back(server: Server, script: Script) -> None:
    server.limits(local_job_max_concurrent=8)
    first = run_on(server, script)
    server.submit(*SLEEP)
    after = server.submit(*SLEEP)["job_id"]
    pid = pid_of(server, first)
    script.remove_process(script.gpus[0], pid, leak_gb=5)
    server.post(f"/api/jobs/{first['job_id']}/cancel")
    server.wait(first["job_id"], "cancelled")
    assert server.post("/api/queue/process").status == 200
    assert states(server)[0] == "releasing"
    assert server.job(after)["status"] == "pending"
    script.set_used(script.gpus[0], 0)
    assert server.wait(after, "running")["allocated_gpus"] == [0]


def test_after_a_crash_of_the_server_its_runs_are_still_its_own(server: Server, script: Script) -> None:
    job = run_on(server, script)
    server.kill()
    server.start()
    assert states(server) == ["held", "free"]
    assert server.job(job["job_id"])["status"] == "running"
    assert devices(server)[0]["job_id"] == job["job_id"]
    pid = pid_of(server, job)
    server.post(f"/api/jobs/{job['job_id']}/cancel")
    server.wait(job["job_id"], "cancelled")
    script.remove_process(script.gpus[0], pid)
    eventually(lambda: states(server) == ["free", "free"])


def test_a_lost_gpu_is_missing_and_the_others_work_on(server: Server, script: Script) -> None:
    script.lose(script.gpus[0])
    eventually(lambda: states(server) == ["missing", "free"])
    assert "GPU is lost" in str(devices(server)[0])
    assert server.submit("true")["allocated_gpus"] == [1]
    script.find(script.gpus[0])
    eventually(lambda: states(server) == ["free", "free"])


def test_a_driver_that_hangs_stops_no_request_and_no_run(server: Server, script: Script) -> None:
    job = server.wait_phase(server.submit(*SLEEP)["job_id"])
    script.hang("nvmlDeviceGetMemoryInfo_v2")
    eventually(script.is_hanging)
    # Facts older than 2 s hand nothing out.
    eventually(lambda: server.submit(*SLEEP, dry_run=True)["status"] == "queued", 20)
    waiting = server.submit(*SLEEP)["job_id"]
    assert reasons(server, waiting)
    assert server.job(job["job_id"])["status"] == "running"
    script.heal()
    assert server.wait(waiting, "running")


def test_mig_devices_are_handed_out_by_their_uuid(make_server: MakeServer, script: Script, tmp_path: Path) -> None:
    script.enable_mig(script.add_gpu(), 40, 20)
    server = started(make_server, script)
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['GPUYARD_GPU_UUIDS'])"
    job = server.wait(server.submit(sys.executable, "-c", code, num_processes=2)["job_id"])
    uuids = ",".join(part.uuid for part in script.gpus[0].parts)
    assert server.get(f"/api/jobs/{job['job_id']}/logs").body["logs"] == f"{uuids} {uuids}\n"


def test_simulated_gpus_show_the_load_of_runs_and_the_faults_that_a_file_injects(make_server: MakeServer) -> None:
    server = make_server(gpus="2:A100:40").start()
    job_id = server.submit(*SLEEP)["job_id"]
    eventually(lambda: devices(server)[0]["utilization"] > 50)
    assert devices(server)[1]["utilization"] == 0
    server.post(f"/api/jobs/{job_id}/cancel")
    server.wait(job_id, "cancelled")
    eventually(lambda: devices(server)[0]["utilization"] == 0)
    faults = {"0": {"lost": True}, "1": {"foreign": [{"pid": 4711, "memory_gb": 3}]}}
    (server.data / "gpu_faults.json").write_text(json.dumps(faults))
    eventually(lambda: states(server) == ["missing", "busy_external"])
    waiting = server.submit(*SLEEP)["job_id"]
    assert any("4711" in reason["text"] for reason in reasons(server, waiting))
    (server.data / "gpu_faults.json").unlink()
    assert server.wait(waiting, "running")


def test_a_run_that_dies_of_its_gpu_is_tried_again_and_the_gpu_is_out_also_after_a_restart(
    server: Server, script: Script, tmp_path: Path
) -> None:
    """The Xid comes at the very end of the run: no reading has seen it by then."""
    live, broken = script.path, tmp_path / "broken"
    script.path = broken  # written aside: a reading in between would see it too early
    script.xid(script.gpus[0], 79)
    script.path = live
    job_id = server.submit("sh", "-c", 'mv "$0" "$1"; exit 134', str(broken), str(script.path))["job_id"]
    first = eventually(lambda: [a for a in server.job(job_id)["attempts"] if a["ended_at"]], timeout=30)[0]
    assert (first["exit_class"], first["exit_code"], first["gpus"]) == ("gpu_fault", 134, [0])
    assert "Xid 79" in first["error"]
    assert states(server)[0] == "quarantined"
    assert server.stop() == 0
    server.start()
    eventually(lambda: states(server)[0] == "quarantined", timeout=30)
