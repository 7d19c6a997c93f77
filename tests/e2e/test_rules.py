"""The rules of the queue on a real server that is killed in between: approvals, windows, pauses, usage."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gpuyard.actors.model.clock import epoch
from tests.e2e.server import Answer, Server
from tests.support import eventually

pytestmark = pytest.mark.e2e

SLEEP = ("sleep", "600")


def gpuyard(server: Server, *words: str, token: str = "", code: int = 0) -> str:
    """Type a command; its stdout."""
    environ = {**os.environ, "GPUYARD_SERVER": server.url, "GPUYARD_TOKEN": token}
    done = subprocess.run(
        [sys.executable, "-m", "gpuyard", *words], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done.stdout


class People:
    """A lab: an administrator, a lead and two researchers, each with a token."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.tokens: dict[str, str] = {}
        for name, level in (("root", "admin"), ("lee", "lead"), ("ann", "researcher"), ("bob", "researcher")):
            answer = self.ask("root", "POST", "/api/users", {"username": name, "level": level})
            assert answer.status == 200, answer.body
            self.tokens[name] = answer.body["token"]

    def ask(self, who: str, method: str, path: str, body: Any = None) -> Answer:
        token = self.tokens.get(who)
        return self.server.request(method, path, body, {"X-API-Key": token} if token else {})

    def submit(self, who: str, *command: str, **more: Any) -> dict[str, Any]:
        answer = self.ask(who, "POST", "/api/queue/submit", {"command": list(command or ("true",)), **more})
        assert answer.status == 200 and answer.body["success"], answer.body
        body: dict[str, Any] = answer.body
        return body

    def wait(self, job_id: str, *statuses: str) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            job: dict[str, Any] = self.ask("root", "GET", f"/api/jobs/{job_id}").body["job"]
            return job if job["status"] in (statuses or ("completed", "failed", "cancelled")) else {}

        return eventually(look, timeout=60, message=f"{job_id} never became {statuses}")


def test_a_costly_job_waits_over_a_crash_until_a_lead_lets_it_in(server: Server) -> None:
    lab = People(server)
    words = [
        "approvals",
        "rules",
        "add",
        "dear",
        "cost_exceeds",
        "--threshold",
        "50",
        "--approver",
        "lead",
        "--exempt",
        "admin",
    ]
    gpuyard(server, *words, token=lab.tokens["root"])
    blocked = lab.submit("ann", estimated_cost=120)
    assert (blocked["status"], "$120.00" in blocked["reason"]) == ("blocked", True)
    job_id = blocked["job_id"]
    server.kill()
    server.start()
    for verb in ("release", "hold", "release"):
        assert lab.ask("ann", "POST", f"/api/queue/{job_id}/{verb}").status == 200
    assert lab.ask("root", "POST", "/api/queue/process").status == 200
    assert lab.ask("ann", "POST", f"/api/queue/{job_id}/approve").status == 403
    assert lab.ask("ann", "GET", f"/api/jobs/{job_id}").body["job"]["status"] == "blocked"
    gpuyard(server, "approvals", "approve", job_id[:8], token=lab.tokens["ann"], code=4)
    number = str(blocked["approval_id"])
    assert job_id in gpuyard(server, "approvals", "list", "--status", "pending", token=lab.tokens["lee"])
    gpuyard(server, "approvals", "approve", number, "--reason", "for the deadline", token=lab.tokens["lee"])
    assert lab.wait(job_id)["status"] == "completed"
    [record] = lab.ask("ann", "GET", "/api/approvals").body["approvals"]
    assert (record["status"], record["decided_by"], record["decision_reason"]) == (
        "approved", "lee", "for the deadline"
    )  # fmt: skip
    assert record["username"] == "ann"


def test_a_rejected_job_fails_with_the_reason_and_a_retry_is_looked_at_again(server: Server) -> None:
    lab = People(server)
    gpuyard(
        server, *["approvals", "rules", "add", "newcomers", "first_job", "--approver", "lead"], token=lab.tokens["root"]
    )
    job_id = lab.submit("bob")["job_id"]
    gpuyard(server, "approvals", "reject", job_id, "--reason", "come and see me", token=lab.tokens["lee"])
    job = lab.wait(job_id, "failed")
    assert (job["error_message"], job["exit_class"]) == ("Rejected: come and see me", "rejected")
    again = lab.ask("bob", "POST", f"/api/jobs/{job_id}/retry").body
    assert again["status"] == "blocked", "still nobody has let a job of his in"
    assert lab.ask("lee", "POST", f"/api/approvals/{again['approval_id']}/approve").status == 200
    assert lab.wait(again["job_id"])["status"] == "completed"
    assert lab.submit("bob")["status"] in ("running", "queued"), "and now he is known"
    server.stop()
    server.start()
    assert lab.submit("bob")["status"] in ("running", "queued"), "over a restart too"


def test_an_undecided_approval_expires_even_while_the_server_was_away(server: Server) -> None:
    job_id = server.submit("true", requires_approval=True)["job_id"]
    server.kill()
    server.start()
    server.limits(approval_expiry_hours=0.0003)
    job = server.wait(job_id, "failed")
    assert job["error_message"].startswith("Approval expired") and job["exit_class"] == "approval_expired"


def test_a_job_starts_when_its_window_opens_and_not_before(make_server: Any, tmp_path: Path) -> None:
    """In a zone of our own, whose minutes begin when the test needs it."""
    server: Server = make_server(PYTHONTZPATH=str(tmp_path)).start()
    opens = int(time.time()) + 12
    offset = -opens % 60 + 5 * 3600
    (tmp_path / "Lab").mkdir()
    (tmp_path / "Lab" / "Time").write_bytes(zone_file(offset))
    hours = "-".join(time.strftime("%H:%M", time.gmtime(opens + offset + more)) for more in (0, 3600))
    out = gpuyard(server, "jobs", "submit", "--window", f"{hours} Lab/Time", "--format", "json", "--", "true")
    job_id = json.loads(out)["job_id"]
    job = server.job(job_id)
    if time.time() < opens:
        assert (job["status"], job["window"]) == ("pending", f"{hours} Lab/Time")
        assert epoch(job["reasons"][0]["detail"]["opens_at"]) == opens
    done = server.wait(job_id, timeout=120)
    assert done["status"] == "completed" and epoch(done["started_at"]) >= opens


def zone_file(offset: int) -> bytes:
    """A time zone that is always `offset` seconds east of UTC (TZif, RFC 9636)."""
    header = b"TZif\0" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    return header + struct.pack(">lBB", offset, 0, 0) + b"LAB\0"


def test_a_pause_holds_over_a_crash_and_resuming_starts_what_waited(server: Server) -> None:
    running = server.submit(*SLEEP)["job_id"]
    gpuyard(server, "queue", "pause", "local")
    waiting = server.submit("true")["job_id"]
    assert server.job(waiting)["reasons"][0]["code"] == "QueuePaused"
    server.kill()
    server.start()
    assert server.stats()["paused"] == ["local"]
    assert server.job(waiting)["status"] == "pending" and server.job(running)["status"] == "running"
    assert gpuyard(server, "queue", "resume").split() == [waiting]
    assert server.wait(waiting)["status"] == "completed"


def test_usage_as_csv_is_the_sum_of_the_runs_and_stays_when_they_are_purged(server: Server) -> None:
    lab = People(server)
    jobs = [
        lab.wait(lab.submit(who, "sleep", "0.1", num_processes=gpus)["job_id"])
        for who, gpus in (("ann", 1), ("ann", 2), ("bob", 4))
    ]
    wanted = {"ann": 0.0, "bob": 0.0}
    for who, job in zip(("ann", "ann", "bob"), jobs, strict=True):
        [attempt] = job["attempts"]
        wanted[who] += (epoch(attempt["ended_at"]) - epoch(attempt["started_at"])) * job["num_processes"]
    gpuyard(server, "jobs", "purge", "--status", "completed", "-y", token=lab.tokens["root"])
    text = gpuyard(server, "usage", "--by", "user", "--format", "csv", token=lab.tokens["lee"])
    rows = {row["username"]: row for row in csv.DictReader(io.StringIO(text))}
    assert {who: float(rows[who]["gpu_seconds"]) for who in wanted} == pytest.approx(wanted, abs=1e-4)
    assert (rows["ann"]["runs"], rows["bob"]["runs"]) == ("2", "1")
    mine = gpuyard(server, "usage", "--by", "user", "--format", "csv", token=lab.tokens["ann"])
    assert [row["username"] for row in csv.DictReader(io.StringIO(mine))] == ["ann"]
