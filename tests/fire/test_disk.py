"""A disk that is full or read-only under a real server: it says so, loses nothing, and goes on by itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gpuyard.actors.store import admin
from tests.e2e.server import Answer, Server
from tests.support import eventually
from tests.support_disk import fill, remount

WAIT = (
    "import pathlib, sys, time\n"
    "while not pathlib.Path(sys.argv[1]).exists():\n"
    "    time.sleep(0.01)\n"
    "open(sys.argv[1] + '.seen', 'w').close()\n"
    "sys.exit(5)"
)


def _submit(server: Server, number: int) -> Answer:
    body = {"command": ["true"], "requires_approval": True, "metadata": {"x": "y" * 3000}}
    return server.post("/api/queue/submit", body, **{"Idempotency-Key": f"key-{number}"})


def _submit_until_full(server: Server) -> list[str]:
    """The jobs that were acknowledged before the first refusal."""
    job_ids: list[str] = []
    while (answer := _submit(server, len(job_ids))).status == 200:
        job_ids.append(answer.body["job_id"])
        assert len(job_ids) < 5_000, "the disk is never full"
    _is_refused_well(answer)
    return job_ids


def _is_refused_well(answer: Answer) -> None:
    assert (answer.status, answer.body["code"]) == (503, "store_failed"), answer.body
    assert "full" in answer.body["detail"] and "free some space" in answer.body["detail"]
    assert "/" not in answer.body["detail"], "a path is nothing for clients"
    assert int(answer.headers["Retry-After"]) > 0


def _shows_what_is_durable(server: Server, running: list[str], blocked: list[str]) -> None:
    for path in (
        "/api/queue",
        "/api/queue/stats",
        "/api/queue/me",
        f"/api/jobs/{running[0]}",
        "/api/queue/concurrency",
    ):
        answer = server.get(path)
        assert answer.status == 200, (path, answer.body)
    stats = server.stats()
    assert (stats["total_running"], stats["by_status"]["blocked"]) == (len(running), len(blocked))
    assert "free some space" in stats["store_error"]
    assert "not ready" in server.get("/readyz").body["detail"]
    for job_id in running:
        assert server.job(job_id)["status"] == "running"


def _answered(server: Server, path: str) -> dict[str, Any]:
    """The body of a 200, once there is one."""

    def ask() -> Any:
        answer = server.get(path)
        return answer.body if answer.status == 200 else None

    body: dict[str, Any] = eventually(ask, timeout=30)
    return body


def test_a_full_disk_refuses_submits_and_lets_runs_go_on(server: Server, small_disk: Path, tmp_path: Path) -> None:
    server.start().limits(local_job_max_concurrent=4)
    flag = tmp_path / "flag"
    ends = server.submit(sys.executable, "-c", WAIT, str(flag))["job_id"]
    stays = server.submit("sleep", "600")["job_id"]
    server.wait_phase(ends)
    pid = server.wait_phase(stays)["attempts"][-1]["pid"]
    ballast = fill(small_disk)
    job_ids = _submit_until_full(server)

    # Refusals go on saying why, also while the queue tries to write again; questions are answered all the time.
    for _ in range(30):
        _is_refused_well(_submit(server, len(job_ids)))
        _shows_what_is_durable(server, [ends, stays], job_ids)
    # A run ends meanwhile.
    flag.touch()
    eventually(lambda: Path(f"{flag}.seen").exists())
    _is_refused_well(_submit(server, len(job_ids)))
    assert server.get("/healthz").status == 200
    assert server.process is not None and server.process.poll() is None

    ballast.unlink()
    eventually(lambda: _answered(server, f"/api/jobs/{ends}")["job"]["is_terminal"], timeout=30)
    job = server.job(ends)
    assert (job["status"], job["exit_code"], job["attempt"]) == ("failed", 5, 1)
    job = server.job(stays)
    assert (job["phase"], job["attempts"][-1]["pid"], job["attempt"]) == ("running", pid, 1)
    for number, job_id in enumerate(job_ids):
        assert _submit(server, number).body["job_id"] == job_id, "what was acknowledged is there"
    answer = _submit(server, len(job_ids))
    assert answer.status == 200 and answer.body["idempotent_hit"] is False, "what was refused is not"
    assert server.stats()["store_error"] is None
    assert server.stop() == 0
    assert admin.check(server.data / "jobs.db") == []


def test_a_start_on_a_full_disk_names_the_cure_and_the_next_one_finds_everything(
    server: Server, small_disk: Path
) -> None:
    server.start()
    stays = server.submit("sleep", "600")["job_id"]
    pid = server.wait_phase(stays)["attempts"][-1]["pid"]
    ballast = fill(small_disk)
    job_ids = _submit_until_full(server)
    server.kill()
    code = server.launch().wait(timeout=60)
    assert code == 1 and "the server was not started" in server.stderr()
    assert "No space left" in server.stderr() or "is full" in server.stderr()
    assert "leave room" in server.stderr() or "free some space" in server.stderr()
    assert "Traceback" not in server.stderr()
    ballast.unlink()
    server.start()
    assert server.wait_phase(stays)["attempts"][-1]["pid"] == pid
    assert [server.job(job_id)["status"] for job_id in job_ids] == ["blocked"] * len(job_ids)


def test_a_read_only_disk_at_the_start_is_refused_with_the_cure(server: Server, small_disk: Path) -> None:
    server.start()
    job_id = server.submit("true")["job_id"]
    server.wait(job_id)
    assert server.stop() == 0
    eventually(lambda: not server.processes())
    remount(small_disk, "ro")
    try:
        code = server.launch().wait(timeout=60)
        assert code == 1 and "Read-only" in server.stderr() and "--data-dir" in server.stderr()
        assert "Traceback" not in server.stderr()
    finally:
        remount(small_disk, "rw")
    assert server.start().job(job_id)["status"] == "completed"
