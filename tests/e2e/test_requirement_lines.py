"""The `curl` lines of the requirement that concern local jobs, run as they stand there against a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")]


def curl(server: Server, line: str) -> Any:
    """The decoded answer of a line of the requirement, with its server replaced by ours."""
    words = re.sub(r"http://localhost:800[01]", server.url, line)
    done = subprocess.run(
        ["sh", "-c", words], capture_output=True, text=True, timeout=60, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    return json.loads(done.stdout)


@pytest.fixture
def ready(make_server: MakeServer) -> Server:
    """4 simulated A100s of 40 GB, and the requirement's two configs."""
    server = make_server(gpus="4:A100:40").start()
    for name in ("my-config", "my-training-config"):
        (server.configs / f"{name}.toml").write_text('command = ["sleep", "600"]\nnum_processes = 2\n')
    return server


def test_updating_limits(ready: Server) -> None:
    answer = curl(
        ready,
        """curl -X POST http://localhost:8000/api/queue/concurrency \\
          -H "Content-Type: application/json" \\
          -d '{"max_concurrent": 10, "user_max_concurrent": 3}'""",
    )
    assert (answer["success"], answer["max_concurrent"], answer["user_max_concurrent"]) == (True, 10, 3)
    answer = curl(
        ready,
        """curl -X POST http://localhost:8000/api/queue/concurrency \\
          -H "Content-Type: application/json" \\
          -d '{"local_gpu_max_concurrent": 6, "local_job_max_concurrent": 2}'""",
    )
    assert (answer["local_gpu_max_concurrent"], answer["local_job_max_concurrent"]) == (6, 2)
    answer = curl(
        ready,
        """curl -X POST http://localhost:8000/api/queue/concurrency \\
          -H "Content-Type: application/json" \\
          -d '{
            "max_concurrent": 5,
            "user_max_concurrent": 2,
            "team_max_concurrent": 10,
            "enable_fair_share": false
          }'""",
    )
    assert (answer["max_concurrent"], answer["team_max_concurrent"], answer["enable_fair_share"]) == (5, 10, False)
    ready.stop()
    ready.start()
    assert ready.get("/api/queue/concurrency").body["local_job_max_concurrent"] == 2


def test_cleanup_with_a_credential_that_single_user_mode_ignores(ready: Server) -> None:
    for days in (7, 90):
        answer = curl(
            ready,
            f"""curl -X POST "http://localhost:8000/api/queue/cleanup?days={days}" \\
              -H "Authorization: Bearer $ADMIN_TOKEN" """,
        )
        assert answer == {"success": True, "deleted": 0, "days": days}


def test_submit_stats_and_status_as_the_examples_show(ready: Server) -> None:
    answer = curl(
        ready,
        """curl -s -X POST http://localhost:8000/api/queue/submit -H 'Content-Type: application/json' \\
          -d '{"config_name": "my-training-config", "no_wait": false, "any_gpu": false}'""",
    )
    shown = {key: answer[key] for key in ("success", "status", "allocated_gpus", "queue_position")}
    assert shown == {"success": True, "status": "running", "allocated_gpus": [0, 1], "queue_position": None}
    rejected = curl(
        ready,
        """curl -s -X POST http://localhost:8000/api/queue/submit -H 'Content-Type: application/json' \\
          -d '{"config_name": "my-training-config", "no_wait": true}'""",
    )
    assert (rejected["success"], rejected["status"]) == (False, "rejected")
    stats = curl(ready, "curl http://localhost:8000/api/queue/stats")
    local = {key: stats["local"][key] for key in ("running_jobs", "pending_jobs", "allocated_gpus", "available_gpus")}
    assert local == {"running_jobs": 1, "pending_jobs": 0, "allocated_gpus": [0, 1], "available_gpus": [2, 3]}
    assert (stats["local"]["total_gpus"], stats["by_user"]) == (4, {"1": 1})
    status = curl(ready, 'curl "http://localhost:8000/api/system/status?include_allocation=true"')
    devices = status["gpu_allocation"]["devices"]
    assert [device["job_id"] for device in devices] == [answer["job_id"]] * 2 + [None] * 2
    assert [device["allocated"] for device in devices] == [True, True, False, False]
    assert [device["memory_gb"] for device in devices] == [40] * 4


def test_worker_lines_wait_for_a_worker(ready: Server) -> None:
    answer = curl(
        ready,
        """curl -s -X POST http://localhost:8001/api/queue/submit \\
          -H 'Content-Type: application/json' \\
          -d '{"config_name": "my-config", "target": "worker"}'""",
    )
    assert (answer["success"], answer["status"]) == (True, "queued")
    labelled = curl(
        ready,
        """curl -s -X POST http://localhost:8001/api/queue/submit \\
          -H 'Content-Type: application/json' \\
          -d '{
            "config_name": "my-config",
            "target": "worker",
            "worker_labels": {"gpu_type": "a100*", "location": "us-*"}
          }'""",
    )
    assert labelled["status"] == "queued"
    assert labelled["reasons"]


def test_a_job_that_disappeared_is_found(ready: Server) -> None:
    job_id = ready.submit("true")["job_id"]
    ready.wait(job_id)
    assert curl(ready, "curl http://localhost:8000/api/queue")["entries"] == []
    [entry] = curl(ready, 'curl "http://localhost:8000/api/queue?include_completed=true"')["entries"]
    assert (entry["job_id"], entry["status"]) == (job_id, "completed")


def test_every_line_of_the_requirement_that_has_an_address_has_a_route(ready: Server) -> None:
    """GET lines answer 200; POST lines without a job answer 404 or 422, never 405."""
    for path in ("/api/queue", "/api/queue/stats", "/api/queue/me", "/api/queue/concurrency"):
        assert ready.get(path).status == 200
    job_id = ready.submit("sleep", "600", requires_approval=True)["job_id"]
    assert ready.get(f"/api/queue/position/{job_id}").body["status"] == "blocked"
    assert ready.post(f"/api/queue/{job_id}/reject?reason=too%20expensive").body["status"] == "failed"
    other = ready.submit("sleep", "600", requires_approval=True)["job_id"]
    assert ready.post(f"/api/queue/{other}/approve").body["success"] is True
    waiting = ready.submit("sleep", "600", requires_approval=True)["job_id"]
    assert ready.post(f"/api/queue/{waiting}/cancel").body["status"] == "cancelled"
    assert ready.post("/api/queue/process").body["success"] is True


def test_what_the_simpletuner_client_asks_is_answered(ready: Server, tmp_path: Path) -> None:
    """The requests of `simpletuner jobs` (its cli/jobs.py): list, dry run, submit, get, logs, cancel, retry, delete."""
    config = ready.get("/api/configs/my-config").body
    assert config["config"]["num_processes"] == 2
    checked = ready.post("/api/configs/my-config/validate").body
    assert (checked["valid"], checked["errors"]) == (True, [])
    for body in ({"config_name": "my-config"}, {"config_name": "my-config", "for_approval": True, "target": "auto"}):
        answer = ready.post("/api/queue/submit", body).body
        assert answer["success"], answer
    jobs = ready.get("/api/cloud/jobs?limit=20").body["jobs"]
    assert len(jobs) == 2
    for status in ("running", "pending", "queued", "completed", "failed", "cancelled"):
        assert isinstance(ready.get(f"/api/cloud/jobs?status={status}&limit=500&offset=0").body["jobs"], list)
    running = next(job for job in jobs if job["status"] == "running")["job_id"]
    assert ready.get(f"/api/cloud/jobs/{running}").body["job"]["job_type"] == "local"
    assert ready.get(f"/api/cloud/jobs/{running}/logs").body["logs"] == ""
    assert ready.post(f"/api/cloud/jobs/{running}/cancel").body["success"] is True
    ready.wait(running, "cancelled")
    assert ready.post(f"/api/cloud/jobs/{running}/retry").body["success"] is True
    assert ready.request("DELETE", f"/api/cloud/jobs/{running}").body["success"] is True
    unknown = ready.post("/api/queue/submit", {"config_name": "nothing"}).body
    assert (unknown["success"], bool(unknown["error"])) == (False, True)
