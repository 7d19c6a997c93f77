"""Waiting, end to end: bounded waits, true reasons whose cure works, and holds that keep."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpuyard.actors.model.clock import epoch
from tests.e2e.server import Server
from tests.support import eventually

SLEEP = ("sleep", "600")
WAIT_FOR_FILE = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"


def test_a_four_gpu_job_starts_in_bounded_time_although_one_gpu_jobs_keep_coming(
    server: Server, tmp_path: Path
) -> None:
    """Each small job ends only when told to, and there is always another: without a reservation it waits for ever."""
    server.limits(local_job_max_concurrent=8, reserve_after_seconds=0.2)
    gates = [tmp_path / f"gate-{n}" for n in range(8)]
    small = [server.submit(sys.executable, "-S", "-c", WAIT_FOR_FILE, str(gate))["job_id"] for gate in gates[:4]]
    big = server.submit("true", num_processes=4)["job_id"]
    small += [server.submit(sys.executable, "-S", "-c", WAIT_FOR_FILE, str(gate))["job_id"] for gate in gates[4:]]
    waiting_since = epoch(server.job(small[-1])["queued_at"])
    eventually(lambda: time.time() > waiting_since + 0.3)
    gates[0].touch()
    eventually(lambda: codes(server, small[4]) == ["ReservedForJob"], timeout=30)
    for gate in gates[1:4]:
        gate.touch()
    assert server.wait(big)["status"] == "completed"
    for gate in gates:
        gate.touch()
    assert {server.wait(job_id)["status"] for job_id in small} == {"completed"}


def codes(server: Server, job_id: str) -> list[str]:
    return [reason["code"] for reason in server.get(f"/api/queue/position/{job_id}").body["reasons"]]


def test_sixty_jobs_that_may_not_start_hide_nobody(server: Server) -> None:
    held = [server.submit("true", device_ids=[0])["job_id"] for _ in range(1)]
    server.wait(held[0])
    blocker = server.submit(*SLEEP, device_ids=[0])["job_id"]
    waiting = [server.submit("true", device_ids=[0])["job_id"] for _ in range(60)]
    free_one = server.submit("true")["job_id"]
    assert server.wait(free_one)["status"] == "completed"
    assert {server.job(job_id)["status"] for job_id in waiting} == {"pending"}
    assert codes(server, waiting[-1]) == ["DeviceIdsBusy"]
    assert server.job(blocker)["status"] == "running"


@pytest.mark.parametrize(
    "case",
    ["slots", "gpu limit", "user", "busy", "devices", "quarantine", "excluded", "held job", "approval", "processing"],
)
def test_following_unblock_starts_the_job(server: Server, case: str) -> None:
    server.limits(local_job_max_concurrent=8, reserve_after_seconds=3600)
    job = _stuck(server, case)
    before = server.get(f"/api/queue/position/{job}").body
    assert before["status"] in ("pending", "blocked") and before["reasons"], before
    follow(server, before["reasons"][0]["unblock"])
    server.wait(job, "running", "completed")


def _stuck(server: Server, case: str) -> str:
    """A job that waits for the one thing that `case` names."""
    match case:
        case "slots":
            server.limits(local_job_max_concurrent=1)
            server.submit(*SLEEP)
        case "gpu limit":
            server.limits(local_gpu_max_concurrent=1)
            server.submit(*SLEEP)
        case "user":
            server.limits(user_max_gpus=1)
            server.submit(*SLEEP)
        case "busy":
            server.submit(*SLEEP, num_processes=4)
        case "devices":
            server.submit(*SLEEP, device_ids=[2])
            return str(server.submit("true", device_ids=[2])["job_id"])
        case "quarantine":
            (server.data / "gpu_faults.json").write_text('{"1": {"ecc": 1}, "2": {"ecc": 4}}')
            eventually(lambda: server.stats()["local"]["available_gpus"] == [0, 3])
            return str(server.submit("true", num_processes=4)["job_id"])
        case "excluded":
            full = server.submit(*SLEEP)["job_id"]
            job = str(server.submit("true", num_processes=4)["job_id"])
            assert server.post("/api/gpus/3/exclude").status == 200
            server.post(f"/api/jobs/{full}/cancel")
            server.wait(full)
            server.post("/api/queue/process")
            return job
        case "held job":
            full = server.submit(*SLEEP, num_processes=4)["job_id"]
            job = str(server.submit("true")["job_id"])
            assert server.post(f"/api/queue/{job}/hold").status == 200
            server.post(f"/api/jobs/{full}/cancel")
            server.wait(full)
            return job
        case "approval":
            return str(server.submit("true", requires_approval=True)["job_id"])
        case "processing":
            full = server.submit(*SLEEP, num_processes=4)["job_id"]
            job = str(server.submit("true")["job_id"])
            server.post(f"/api/jobs/{full}/cancel")
            server.wait(full)
            return job
    return str(server.submit("true")["job_id"])


def follow(server: Server, unblock: str) -> None:
    """Type it, as a person would."""
    environ = {**os.environ, "GPUYARD_SERVER": server.url}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", unblock.replace("jobs cancel", "jobs cancel --yes")],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (unblock, done.stdout, done.stderr)
