"""Job secrets through a whole server and a whole worker: set on the command line, seen by the run, by nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.server import Server
from tests.e2e.worker import QUICK, Worker, free_port
from tests.support import eventually

pytestmark = pytest.mark.e2e

VALUE = "canary_of_the_job_" + "k" * 30
# Says whether it has the value without ever saying the value.
CHECK = 'test "$HF_TOKEN" = "$(printf canary_of_the_job_; printf k%.0s $(seq 30))" && echo got it'


def cli(server: Server, *words: str, typed: str = "", code: int = 0) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GPUYARD_")}
    environ |= {"GPUYARD_SERVER": server.url, **({"GPUYARD_TOKEN": server.token} if server.token else {})}
    command = [sys.executable, "-W", "error", "-m", "gpuyard", *words]
    done = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=60, env=environ, check=False)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def log(server: Server, job_id: str) -> str:
    return str(server.get(f"/api/jobs/{job_id}/logs").body["logs"])


def found_in(folder: Path) -> list[str]:
    """The files that hold the value."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(folder)) for path in files if VALUE.encode() in path.read_bytes())


def test_a_run_gets_what_its_owner_set_and_a_retry_gets_it_anew(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(VALUE + "\n")
    assert "hf set, as HF_TOKEN" in cli(server, "secrets", "set", "hf", "--env", "HF_TOKEN", "--file", str(file))
    (server.configs / "train.toml").write_text(
        f"command = ['sh', '-c', '''{CHECK}''']\nnum_processes = 0\nsecrets = ['hf']\n"
    )
    job = server.wait(server.post("/api/queue/submit", {"config_name": "train"}).body["job_id"])
    assert (job["status"], job["secrets"], log(server, job["job_id"])) == ("completed", ["hf"], "got it\n")
    cli(server, "secrets", "set", "hf", typed="another\n")
    words = ("jobs", "submit", "--gpus", "0", "--secret", "hf", "--max-attempts", "2", "--retry-on", "exit:1", "--wait")
    script = 'echo "$GPUYARD_ATTEMPT $HF_TOKEN"; exit $((2 - GPUYARD_ATTEMPT))'
    made = json.loads(cli(server, *words, "--format", "json", "--", "sh", "-c", script).partition("\n}")[0] + "\n}")
    assert log(server, made["job_id"]).splitlines()[-1] == "2 another"
    assert found_in(server.data) == []
    listed = json.loads(cli(server, "secrets", "list", "--format", "json"))
    assert [(one["name"], one["variable"], bool(one["last_used_at"])) for one in listed] == [("hf", "HF_TOKEN", True)]


def test_what_cannot_be_had_is_refused_at_submit_and_said_at_a_start(server: Server) -> None:
    refused = server.post("/api/queue/submit", {"command": ["true"], "secrets": ["hf"]}).body
    assert (refused["success"], refused["error"]) == (False, "unknown_secret")
    assert "`gpuyard secrets set hf`" in refused["reason"]
    assert "gpuyard secrets set hf" in cli(server, "jobs", "submit", "--secret", "hf", "--", "true", code=1)
    cli(server, "secrets", "set", "hf", typed=VALUE)
    later = server.submit("true", secrets=["hf"], num_processes=0, not_before="2100-01-01T00:00:00Z")
    cloud = server.post("/api/queue/submit", {"command": ["true"], "secrets": ["hf"], "target": "cloud"}).body
    assert (cloud["error"], "on the server and its workers only" in cloud["reason"]) == ("secrets_not_kept", True)
    cli(server, "secrets", "delete", "hf")
    assert server.post(f"/api/jobs/{later['job_id']}/cancel").status == 200
    again = server.post(f"/api/jobs/{later['job_id']}/retry").body
    assert (again["success"], again["error"]) == (False, "unknown_secret")
    cli(server, "secrets", "set", "hf", typed=VALUE)
    held = server.submit("true", secrets=["hf"], num_processes=0, requires_approval=True, max_attempts=5)
    cli(server, "secrets", "delete", "hf")
    assert server.post(f"/api/queue/{held['job_id']}/approve", {}).status == 200
    job = server.wait(held["job_id"])
    assert (job["status"], job["exit_class"], job["attempt"]) == ("failed", "start_failed", 1)
    assert "there is no secret hf of yours" in job["error_message"]
    assert found_in(server.folder) == []


def test_others_secrets_are_nobodys(server: Server) -> None:
    root = server.post("/api/users", {"username": "root", "level": "admin"}).body["token"]
    server.token = root
    ann = server.post("/api/users", {"username": "ann", "level": "researcher"}).body["token"]
    cli(server, "secrets", "set", "hf", typed="of root")
    mine = server.submit("true", secrets=["hf"], not_before="2100-01-01T00:00:00Z")
    server.post(f"/api/jobs/{mine['job_id']}/cancel")
    server.token = ann
    assert server.get("/api/secrets").body == {"secrets": []}
    assert server.request("DELETE", "/api/secrets/hf").status == 404
    assert server.post("/api/queue/submit", {"command": ["true"], "secrets": ["hf"]}).body["error"] == "unknown_secret"
    cli(server, "secrets", "set", "hf", typed="of ann")
    job = server.submit("sh", "-c", 'echo "$HF"', secrets=["hf"], not_before="2100-01-01T00:00:00Z")
    server.post(f"/api/jobs/{job['job_id']}/cancel")
    server.token = root
    refused = server.post(f"/api/jobs/{job['job_id']}/retry")
    assert (refused.status, "only its owner retries it" in refused.body["detail"]) == (403, True)


def test_a_worker_gets_it_for_the_run_and_keeps_it_nowhere(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server("--zmq-bind", f"127.0.0.1:{free_port()}", gpus="1", **QUICK).start()
    cli(server, "secrets", "set", "hf", "--env", "HF_TOKEN", typed=VALUE + "\n")
    made = json.loads(cli(server, "workers", "add", "box", "--format", "json").partition("\n}")[0] + "\n}")
    box = Worker(server, tmp_path / "box", "box", made["token"]).start()
    try:
        script = f"{CHECK}; exec sleep 600"
        job = server.submit("sh", "-c", script, target="worker", secrets=["hf"])
        server.wait_phase(job["job_id"])
        assert eventually(lambda: log(server, job["job_id"])) == "got it\n"
        server.kill()
        server.start()
        box.wait_status("busy")
        assert server.job(job["job_id"])["status"] == "running", "an adopted run needs no secret again"
        assert found_in(box.data) == [] and (box.data / "journal").stat().st_size > 0
        server.post(f"/api/jobs/{job['job_id']}/cancel")
        server.wait(job["job_id"], "cancelled")
        cli(server, "secrets", "delete", "hf")
        assert found_in(tmp_path) == []
    finally:
        box.close()
